//! The address of a server, and path segments that may hold any character.

use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fmt, str::FromStr};

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An id as one segment of a path, or as a value of a query.
pub(crate) fn segment(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}

/// A path with those parameters that have a value.
pub(crate) fn query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let text: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", segment(value))).collect();
    if text.is_empty() { path.to_owned() } else { format!("{path}?{}", text.join("&")) }
}

/// `http://host:port`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    authority: String,
}

impl ServerUrl {
    /// Host and port, as they stand in `Host` and are connected to.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Uri = text.parse().map_err(|_| "it is not http://host:port".to_owned())?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("TLS is not in this build; use http://host:port".into()),
            Some(_) | None => return Err("it is not http://host:port".into()),
        }
        let authority = url.authority().ok_or("it names no host")?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err("it has more than http://host:port".into());
        }
        if authority.as_str().contains('@') {
            return Err("it must not hold a user name".into());
        }
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { authority: format!("{}:{port}", authority.host()) })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}
