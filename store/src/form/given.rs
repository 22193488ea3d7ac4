//! Which columns hold a given value that looks like an absent one, for example a time of zero.

use serde::{Deserialize, Serialize};
use spine_schemas::time::Micros;
use std::{borrow::Cow, collections::BTreeSet};

/// Names of the columns whose value was given although it equals the empty one. Nearly always empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Given(BTreeSet<Cow<'static, str>>);

impl Given {
    /// Whether no column needs to be named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The column of an optional time; absent is 0.
    pub fn put_time(&mut self, column: &'static str, time: Option<Micros>) -> i64 {
        if time == Some(Micros(0)) {
            self.0.insert(column.into());
        }
        time.unwrap_or_default().0
    }

    /// The optional time in a column.
    pub fn time(&self, column: &str, value: i64) -> Option<Micros> {
        (value != 0 || self.0.contains(column)).then_some(Micros(value))
    }

    /// The column of an optional text; absent is `''`.
    pub fn put_text<'a>(&mut self, column: &'static str, text: Option<&'a str>) -> &'a str {
        if text == Some("") {
            self.0.insert(column.into());
        }
        text.unwrap_or_default()
    }

    /// The optional text in a column.
    pub fn text(&self, column: &str, value: &str) -> Option<String> {
        (!value.is_empty() || self.0.contains(column)).then(|| value.to_owned())
    }

    /// The form for tables without `state`: names joined by commas.
    pub fn to_column(&self) -> String {
        self.0.iter().map(Cow::as_ref).collect::<Vec<_>>().join(",")
    }

    /// Reads the form of [`Self::to_column`].
    pub fn from_column(text: &str) -> Self {
        let names = text.split(',').filter(|name| !name.is_empty());
        Self(names.map(|name| Cow::Owned(name.to_owned())).collect())
    }
}
