//! `meta.json`: what the directory is, made once with the log.

use super::{
    disk::{Access, Disk},
    files,
};
use crate::{Error, Result, limits::HEADER_BYTES};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Version of the layout of the directory.
const FORMAT: u32 = 1;
const NAME: &str = "meta.json";

/// The contents of `meta.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    format: u32,
    /// The identity of the log.
    pub(crate) log_id: String,
    /// Its topics.
    pub(crate) topics: BTreeMap<String, TopicMeta>,
}

/// What is known of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicMeta {
    /// Number of partitions, fixed for its life.
    pub(crate) partitions: u32,
    /// Whether all its partitions were made; from then on a missing one is damage.
    pub(crate) created: bool,
}

impl Meta {
    /// The description of a new log.
    pub(crate) fn new(log_id: String) -> Self {
        Self { format: FORMAT, log_id, topics: BTreeMap::new() }
    }

    /// Reads the description; `None` if there is none.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        if !disk.exists(&path) {
            return Ok(None);
        }
        let file = disk.open(&path, Access::Read).map_err(files::failed("open", &path))?;
        let bytes = super::block::read_exact(&*file, 0, HEADER_BYTES);
        let bytes = bytes.map_err(files::failed("read", &path))?;
        let meta: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Damaged(format!("{} is damaged: {error}", path.display())))?;
        if meta.format != FORMAT {
            return Err(Error::Refused(format!(
                "{} has format {}, this version knows format {FORMAT}",
                dir.display(),
                meta.format
            )));
        }
        Ok(Some(meta))
    }

    /// Replaces the description, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let path = dir.join(NAME);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Unavailable(format!("could not write {NAME}: {error}")))?;
        text.push(b'\n');
        files::replace_durably(disk, &path, &text).map_err(files::failed("write", &path))
    }
}
