//! Settings of a client in a file, `name=value` a line: where secrets belong, which a URL would show to
//! everybody who lists processes.

use std::{collections::BTreeMap, fs, str::FromStr};

/// What a file says; nothing, where none was named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SettingsFile(BTreeMap<String, String>);

impl SettingsFile {
    /// Its settings together with those of a URL, which win.
    pub(crate) fn with(&self, of_url: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut all = self.0.clone();
        all.extend(of_url.clone());
        all
    }
}

impl FromStr for SettingsFile {
    type Err = String;

    /// Reads the file of this name.
    fn from_str(path: &str) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        parse(&text).map(Self).map_err(|wrong| format!("{path}: {wrong}"))
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The line itself is not shown: it may hold a secret.
        let (name, value) =
            line.split_once('=').ok_or_else(|| format!("line {} is not name=value", at + 1))?;
        let name = name.trim();
        if settings.insert(name.to_owned(), value.trim().to_owned()).is_some() {
            return Err(format!("line {}: {name} is set twice", at + 1));
        }
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names_and_values() {
        let read =
            parse("# how we log in\n sasl.username = spine \n\nsasl.password=a=b\n").unwrap();
        let expected = [("sasl.password", "a=b"), ("sasl.username", "spine")];
        assert_eq!(read, expected.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!(parse("x=1\nsecret").unwrap_err(), "line 2 is not name=value");
        assert_eq!(parse("x=1\nx=2").unwrap_err(), "line 2: x is set twice");
    }

    #[test]
    fn the_url_wins() {
        let file = SettingsFile([("a".into(), "1".into()), ("b".into(), "1".into())].into());
        let of_url = [("b".to_owned(), "2".to_owned())].into();
        assert_eq!(file.with(&of_url), [("a".into(), "1".into()), ("b".into(), "2".into())].into());
    }
}
