//! Servers that stop, die or slow down: what was acknowledged stays, and all catches up by itself.
