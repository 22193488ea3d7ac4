//! The same question at two ways in, while owners change.
