//! Integration tests of the real parts together.
