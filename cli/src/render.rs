//! Text for people: pure functions from the server's answers and the time to lines.

pub(crate) mod cell;
pub(crate) mod color;
pub(crate) mod letter;
pub(crate) mod run;
pub(crate) mod table;
pub(crate) mod when;

#[cfg(test)]
mod tests;
