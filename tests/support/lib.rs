//! What the test binaries share with nobody else.
