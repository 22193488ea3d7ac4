//! How a command ends: what it tells a person, and what it tells a script.

use std::{fmt::Write as _, process::ExitCode};

/// The exit codes. A code that was released keeps its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// The request was refused or did not succeed; the message says why.
    Failed,
    /// The arguments contradict each other or name what is not there.
    Usage,
    /// The set-up does not allow it: an address, a lock, an adapter, another log.
    Refused,
    /// The log holds what a newer version wrote.
    Newer,
    /// The server could not be reached.
    Unreachable,
    /// The log or the store is damaged, or stopped because durability was no longer certain.
    Damaged,
    /// A comparison found a difference.
    Different,
}

const ALL: [Exit; 8] = [
    Exit::Ok,
    Exit::Failed,
    Exit::Usage,
    Exit::Refused,
    Exit::Newer,
    Exit::Unreachable,
    Exit::Damaged,
    Exit::Different,
];

impl Exit {
    fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Newer => 4,
            Self::Unreachable => 5,
            Self::Damaged => 6,
            Self::Different => 7,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "refused or failed; the message says why",
            Self::Usage => "wrong arguments; see --help",
            Self::Refused => "the set-up does not allow it: address, lock, adapter, another log",
            Self::Newer => "the log holds what a newer version wrote; install that version",
            Self::Unreachable => "the server could not be reached",
            Self::Damaged => {
                "the log or the store is damaged, or the log stopped after a failed sync"
            }
            Self::Different => "a comparison found a difference",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// The table of exit codes, for people.
pub(crate) fn table() -> String {
    let mut text = String::from("Exit codes of every spine command:\n");
    for exit in ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}  {}", exit.number(), exit.meaning());
    }
    text
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    remedy: Option<String>,
    /// The server's own words, for those who asked for JSON.
    json: Option<String>,
}

impl Failure {
    /// A failure for a person; the message is a fragment without a final period.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: None, json: None }
    }

    /// Says what to do about it.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Is shown as this JSON text instead.
    #[must_use]
    pub(crate) fn with_json(mut self, json: impl Into<String>) -> Self {
        self.json = Some(json.into());
        self
    }

    /// The end of a command whose reader went away: nothing is wrong and nobody listens.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// The message and what to do about it, in one line.
    pub(crate) fn sentence(&self) -> String {
        match &self.remedy {
            None => self.message.clone(),
            Some(remedy) => format!("{}; {remedy}", self.message),
        }
    }

    /// What a script is told.
    #[cfg(test)]
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The text on standard error, empty if there is nothing to say.
    pub(crate) fn text(&self) -> String {
        if let Some(json) = &self.json {
            return format!("{json}\n");
        }
        if self.message.is_empty() {
            return String::new();
        }
        let remedy = self.remedy.as_ref().map(|remedy| format!("  to do: {remedy}\n"));
        format!("error: {}\n{}", self.message, remedy.unwrap_or_default())
    }

    /// Tells the person, and gives what to tell the script.
    pub(crate) fn report(&self) -> ExitCode {
        crate::output::complain(&self.text());
        self.exit.into()
    }
}

impl From<spine_log::Error> for Failure {
    fn from(error: spine_log::Error) -> Self {
        use spine_log::Error;
        let exit = match &error {
            Error::Refused(_) | Error::Missing(_) => Exit::Refused,
            Error::Damaged(_) | Error::Poisoned(_) => Exit::Damaged,
            Error::Busy | Error::Full { .. } | Error::TooLarge { .. } | Error::Unavailable(_) => {
                Exit::Failed
            }
        };
        Self::new(exit, format!("log: {error}"))
    }
}

impl From<spine_store::Error> for Failure {
    fn from(error: spine_store::Error) -> Self {
        use spine_store::Error;
        let exit = match &error {
            Error::Refused(_) => Exit::Refused,
            Error::Damaged(_) => Exit::Damaged,
            Error::Lost { .. } | Error::Unavailable(_) | Error::BadQuery(_) => Exit::Failed,
        };
        Self::new(exit, format!("store: {error}"))
    }
}

impl From<spine_workers::Error> for Failure {
    fn from(error: spine_workers::Error) -> Self {
        use spine_workers::Error;
        match error {
            Error::Log(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::RolledBack(what) => Self::new(Exit::Refused, what),
            Error::OtherStore { .. } | Error::PartitionsChanged { .. } => {
                Self::new(Exit::Refused, error.to_string())
            }
            Error::Newer { .. } => Self::new(Exit::Newer, error.to_string())
                .remedy("install the version that wrote it; nothing was skipped"),
            Error::Encode(_) => Self::new(Exit::Failed, error.to_string()),
        }
    }
}
