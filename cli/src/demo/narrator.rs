//! Tells the story on standard output, or keeps quiet and gives the findings as JSON.

use super::expect::{Expectation, Expectations};
use crate::{
    exit::Failure,
    output,
    render::{color, when::lasting},
};
use serde_json::json;
use spine_schemas::time::Micros;
use spine_workers::{Clock, SystemClock};
use std::path::Path;

/// Who tells the story.
pub(super) struct Narrator {
    quiet: bool,
    chapter: u32,
    began: Micros,
}

impl Narrator {
    /// A narrator who begins now.
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, chapter: 0, began: SystemClock.now() }
    }

    fn tell(&self, text: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { output::line(text) }
    }

    /// Begins a chapter.
    pub(super) fn chapter(&mut self, title: &str) -> Result<(), Failure> {
        self.chapter += 1;
        let gap = if self.chapter == 1 { "" } else { "\n" };
        let title = color::strong(&format!("{}. {title}", self.chapter));
        self.tell(&format!("{gap}{title}"))
    }

    /// Says something.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        self.tell(&format!("   {text}"))
    }

    /// Shows a command and what it printed.
    pub(super) fn command(&self, command: &str, printed: &str) -> Result<(), Failure> {
        let mut text = format!("   $ {}", color::strong(command));
        for line in printed.lines() {
            text.push_str(&format!("\n     {line}"));
        }
        self.tell(&text)
    }

    /// Says whether an expectation was met.
    pub(super) fn found(&self, of: &Expectation) -> Result<(), Failure> {
        if of.met {
            return self.tell(&format!("   {} {}", color::good("✓"), of.what));
        }
        self.tell(&format!("   {} {}: found {}", color::bad("✗"), of.what, of.found))
    }

    /// Ends the story.
    ///
    /// # Errors
    /// When nobody reads it.
    pub(super) fn end(&self, all: &Expectations, place: &Path, kept: bool) -> Result<(), Failure> {
        let took_ms = SystemClock.now().ms_since(self.began);
        if self.quiet {
            let ok = all.unmet() == 0;
            return output::line(
                &json!({"ok": ok, "took_ms": took_ms, "expectations": all.all()}).to_string(),
            );
        }
        let met = all.all().len() - all.unmet();
        self.tell(&format!(
            "\n{} of {} expectations met in {}.\n\n{}",
            met,
            all.all().len(),
            lasting(took_ms),
            next(place, kept)
        ))
    }
}

fn next(place: &Path, kept: bool) -> String {
    let data = if kept {
        let place = place.display();
        format!(
            "  spine serve --log embedded:{place}/log --store sqlite:{place}/store.db\n  \
             sqlite3 {place}/store.db 'select run_id, status from runs'\n"
        )
    } else {
        "  spine demo --keep ./demo-data           the same, and its data stays for you to look at\n"
            .to_owned()
    };
    format!(
        "{}\n{data}  \
         spine demo --simulate-failures 20       more trouble\n  \
         spine serve                             a server of your own on 127.0.0.1:7700\n  \
         spine runs start plan.json              your own plan; README.md shows one\n",
        color::strong("What to try next")
    )
}
