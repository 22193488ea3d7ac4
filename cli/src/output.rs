//! Standard output and standard error: colour only on a terminal, and a reader that leaves ends us.

use crate::exit::{Exit, Failure};
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Prints text as it is. Colours are dropped where nobody would see them.
///
/// # Errors
/// When the reader has gone, or the text cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::new(Exit::Failed, format!("could not write the output: {error}")),
    })
}

/// Prints a line.
///
/// # Errors
/// As [`print`].
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    print(&format!("{}\n", text.trim_end_matches('\n')))
}

/// Prints a line for people; those who asked for JSON have no use for it.
///
/// # Errors
/// As [`print`].
pub(crate) fn line_unless(json: bool, text: &str) -> Result<(), Failure> {
    if json { Ok(()) } else { line(text) }
}

/// Prints to standard error; if that is gone, nobody can be told.
pub(crate) fn complain(text: &str) {
    let mut out = anstream::stderr();
    let _ = out.write_all(text.as_bytes());
}

/// Whether a person looks at standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}
