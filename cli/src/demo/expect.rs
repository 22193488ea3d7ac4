//! What the demo expects and found: it is a test as much as a show.

use serde::Serialize;

/// An expectation.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Expectation {
    /// What should be so.
    pub(super) what: String,
    /// Whether it is.
    pub(super) met: bool,
    /// What was found.
    pub(super) found: String,
}

/// All expectations so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Expectations(Vec<Expectation>);

impl Expectations {
    /// Notes what was expected and found; gives it for the narrator.
    pub(super) fn note(
        &mut self,
        what: impl Into<String>,
        met: bool,
        found: impl ToString,
    ) -> Expectation {
        let noted = Expectation { what: what.into(), met, found: found.to_string() };
        self.0.push(noted.clone());
        noted
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Expectation] {
        &self.0
    }

    /// How many were not met.
    pub(super) fn unmet(&self) -> usize {
        self.0.iter().filter(|of| !of.met).count()
    }
}
