//! Where the log and the store are, as a URL says it.

use percent_encoding::percent_decode_str;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

/// The prefix of the topics where the URL names none, and on the embedded log.
const PREFIX: &str = "spine";
/// What stands for a secret where a URL is shown.
const HIDDEN: &str = "***";

/// Where the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogUrl {
    /// `embedded:DIR`
    Embedded(PathBuf),
    /// `kafka://host:port,host:port/prefix?setting=value`
    Kafka(Cluster),
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// `sqlite:FILE`, or `FILE` alone where nothing but a store can be meant.
    Sqlite(PathBuf),
    /// `cql://host:port,host:port/keyspace?setting=value`
    Cql(Cluster),
}

/// Servers, what is ours on them, and settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// `host:port`, at least one.
    pub(crate) hosts: Vec<String>,
    /// The prefix of topics, or the keyspace.
    pub(crate) name: String,
    /// Settings of the client, by the client's own names.
    pub(crate) settings: BTreeMap<String, String>,
}

impl LogUrl {
    /// The topic of step events.
    pub(crate) fn steps(&self) -> Arc<str> {
        format!("{}.steps", self.prefix()).into()
    }

    /// The topic of dead letters: same partitions, same numbers.
    pub(crate) fn letters(&self) -> Arc<str> {
        format!("{}.steps.dlq", self.prefix()).into()
    }

    /// The topic of what steers the installation.
    pub(crate) fn control(&self) -> Arc<str> {
        format!("{}.control", self.prefix()).into()
    }

    /// The topic of transitions: same partitions, same numbers.
    pub(crate) fn lifecycle(&self) -> Arc<str> {
        format!("{}.lifecycle", self.prefix()).into()
    }

    /// What the consumer groups of webhooks begin with.
    pub(crate) fn webhooks(&self) -> String {
        format!("{}.webhook", self.prefix())
    }

    /// The consumer group of the owners.
    pub(crate) fn group(&self) -> String {
        format!("{}.owners", self.prefix())
    }

    fn prefix(&self) -> &str {
        match self {
            Self::Embedded(_) => PREFIX,
            Self::Kafka(cluster) => &cluster.name,
        }
    }
}

impl StoreUrl {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(file) => Some(file),
            Self::Cql(_) => None,
        }
    }

    /// Whether the store is of one process only.
    pub(crate) fn is_private(&self) -> bool {
        self.file().is_some()
    }
}

impl FromStr for LogUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", "")) => Err("embedded: needs a directory".into()),
            Some(("embedded", dir)) => Ok(Self::Embedded(dir.into())),
            Some(("kafka", rest)) => Ok(Self::Kafka(cluster("kafka", rest, 9092, Some(PREFIX))?)),
            Some(_) | None => Err("it is neither embedded:DIR nor kafka://host:port/prefix".into()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", "")) => Err("sqlite: needs a file".into()),
            Some(("sqlite", file)) => Ok(Self::Sqlite(file.into())),
            Some(("cql", rest)) => {
                let cluster = cluster("cql", rest, 9042, None)?;
                check_keyspace(&cluster.name)?;
                Ok(Self::Cql(cluster))
            }
            Some(_) => Err("it is neither sqlite:FILE nor cql://host:port/keyspace".into()),
            None if text.is_empty() => Err("it names no file".into()),
            None => Ok(Self::Sqlite(text.into())),
        }
    }
}

/// `//host:port,host/name?setting=value&setting=value`
fn cluster(
    scheme: &str,
    rest: &str,
    port: u16,
    default_name: Option<&str>,
) -> Result<Cluster, String> {
    let form = || format!("it is not {scheme}://host:port/name");
    let rest = rest.strip_prefix("//").ok_or_else(form)?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, name) = place.split_once('/').unwrap_or((place, ""));
    if hosts.contains('@') {
        return Err("user and password do not belong into the URL: see the settings file".into());
    }
    let hosts: Vec<String> = hosts.split(',').map(|host| with_port(host, port)).collect();
    if hosts.iter().any(|host| host.starts_with(':')) {
        return Err(format!("{}: a host is missing", form()));
    }
    let name = match (name, default_name) {
        ("", Some(name)) => name,
        ("", None) => return Err(format!("{}: the keyspace is missing", form())),
        (name, _) => name,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(is_plain) {
        return Err(format!("'{name}' may hold letters, digits, '.', '_' and '-' only"));
    }
    Ok(Cluster { hosts, name: name.to_owned(), settings: settings(query)? })
}

fn with_port(host: &str, port: u16) -> String {
    let is_bare = !host.contains(':') || host.ends_with(']');
    if is_bare { format!("{host}:{port}") } else { host.to_owned() }
}

fn settings(query: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("'{pair}' is not setting=value"))?;
        let value = percent_decode_str(value)
            .decode_utf8()
            .map_err(|_| format!("the value of '{name}' is not text"))?;
        if settings.insert(name.to_owned(), value.into_owned()).is_some() {
            return Err(format!("'{name}' is set twice"));
        }
    }
    Ok(settings)
}

/// Keyspaces are written without quotes, so that the same name works in every tool.
fn check_keyspace(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins_well = name.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if begins_well && name.len() <= 48 && name.bytes().all(is_plain) {
        return Ok(());
    }
    Err(format!("keyspace '{name}' is not [a-z][a-z0-9_]{{0,47}}"))
}

impl fmt::Display for LogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(dir) => write!(f, "embedded:{}", dir.display()),
            Self::Kafka(cluster) => write!(f, "kafka://{cluster}"),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Cql(cluster) => write!(f, "cql://{cluster}"),
        }
    }
}

/// Without the values of secrets, since it is shown and logged.
impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hosts.join(","), self.name)?;
        for (at, (name, value)) in self.settings.iter().enumerate() {
            let is_secret = ["password", "secret", "pem"].iter().any(|part| name.contains(part));
            let value = if is_secret { HIDDEN } else { value };
            write!(f, "{}{name}={value}", if at == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_read_with_their_defaults() {
        let of = |text: &str| text.parse::<LogUrl>().unwrap().to_string();
        assert_eq!(of("kafka://a"), "kafka://a:9092/spine");
        assert_eq!(of("kafka://a:1,[::1]:2/x.y"), "kafka://a:1,[::1]:2/x.y");
        assert_eq!(of("kafka://a/x?b.c=%2Fd&a=e"), "kafka://a:9092/x?a=e&b.c=/d");
        assert_eq!(of("kafka://a/x?sasl.password=p"), "kafka://a:9092/x?sasl.password=***");
        let store: StoreUrl = "cql://a,b:1/ks_2?replication=3".parse().unwrap();
        assert_eq!(store.to_string(), "cql://a:9042,b:1/ks_2?replication=3");
        assert_eq!("s.db".parse(), Ok(StoreUrl::Sqlite("s.db".into())));
        let kafka: LogUrl = "kafka://a/team1".parse().unwrap();
        assert_eq!(&*kafka.steps(), "team1.steps");
        assert_eq!(&*kafka.letters(), "team1.steps.dlq");
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        for wrong in [
            "kafka:a",
            "kafka://",
            "kafka://a,/x",
            "kafka://a/x/y",
            "kafka://u:p@a/x",
            "kafka://a/x?y",
        ] {
            assert!(wrong.parse::<LogUrl>().is_err(), "{wrong} was taken");
        }
        for wrong in
            ["cql://a", "cql://a/", "cql://a/Ks", "cql://a/9ks", "cql://a/k?x=1&x=2", "", "x:y"]
        {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong} was taken");
        }
    }
}
