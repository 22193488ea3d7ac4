//! What callers say in the address: parameters, tenants, run ids, positions.

use crate::{Code, Problem, limits};
use axum::{extract::Query, http::Uri};
use serde::{Deserialize, de::DeserializeOwned};
use spine_schemas::{RunKey, check_id, check_tenant};
use std::str::FromStr;

/// The tenant where none is named.
pub(crate) const DEFAULT_TENANT: &str = "default";

/// Reads the parameters of an address. Unknown ones are refused by name.
pub(crate) fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    match Query::<T>::try_from_uri(uri) {
        Ok(Query(query)) => Ok(query),
        Err(error) => Err(Problem::new(Code::BadQuery, error.body_text())),
    }
}

/// The parameters of every question about one run.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunQuery {
    pub(crate) tenant: Option<String>,
    pub(crate) at_least: Option<AtLeast>,
}

/// The parameters of a page of something about one run.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    pub(crate) tenant: Option<String>,
    pub(crate) at_least: Option<AtLeast>,
    pub(crate) from: Option<u64>,
    pub(crate) limit: Option<usize>,
}

/// The run that an address names.
pub(crate) fn run_key(tenant: Option<&str>, run_id: &str) -> Result<RunKey, Problem> {
    let tenant = tenant.unwrap_or(DEFAULT_TENANT);
    check_tenant(tenant)?;
    check_id("run_id", run_id)?;
    Ok(RunKey::new(tenant, run_id))
}

/// How many rows a page has.
pub(crate) fn page_rows(limit: Option<usize>) -> Result<usize, Problem> {
    up_to(limit.unwrap_or(limits::PAGE_ROWS), spine_store::limits::PAGE_ROWS)
}

/// A limit that is asked for, where it can be kept to.
pub(crate) fn up_to(limit: usize, most: usize) -> Result<usize, Problem> {
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("limit: {limit} is not between 1 and {most}");
    Err(Problem::new(Code::BadQuery, detail))
}

/// The position that an answer must include: `offset` in the run's partition, or `partition:offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtLeast {
    pub(crate) partition: Option<u32>,
    pub(crate) offset: u64,
}

impl FromStr for AtLeast {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("at_least: '{text}' is neither an offset nor partition:offset");
        let (partition, offset) = match text.split_once(':') {
            Some((partition, offset)) => (Some(partition.parse().map_err(|_| wrong())?), offset),
            None => (None, text),
        };
        Ok(Self { partition, offset: offset.parse().map_err(|_| wrong())? })
    }
}

impl<'de> Deserialize<'de> for AtLeast {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
