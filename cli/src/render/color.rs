//! Colour by what a person should look at. Where the output is no terminal, it is dropped again.

use anstyle::{AnsiColor, Style};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WAITING: Style = AnsiColor::Yellow.on_default();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

fn with(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A status of a run, step, attempt or letter.
pub(crate) fn status(text: &str) -> String {
    let style = match text.trim_end() {
        "completed" | "resolved" | "redriven" | "decided" => GOOD,
        "failed" | "dead_lettered" | "lost" | "open" => BAD,
        "waiting" | "awaiting" | "retry_waiting" | "deferred" | "unknown" | "degraded"
        | "released" => WAITING,
        _ => return text.to_owned(),
    };
    with(style, text)
}

/// What stands out.
pub(crate) fn strong(text: &str) -> String {
    with(STRONG, text)
}

/// What is only there to be found.
pub(crate) fn faint(text: &str) -> String {
    with(FAINT, text)
}

/// What went well.
pub(crate) fn good(text: &str) -> String {
    with(GOOD, text)
}

/// What went wrong.
pub(crate) fn bad(text: &str) -> String {
    with(BAD, text)
}
