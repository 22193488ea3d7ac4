//! The names on a simulated disk: which exist, and which a loss of power leaves.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory.
    Dir,
    /// The file with this number.
    File(u64),
}

/// All names, twice, and the changes between.
#[derive(Debug)]
pub(super) struct Names {
    seen: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Changes that are not durable, oldest first.
    pending: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

impl Default for Names {
    fn default() -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Dir)]);
        Self { seen: root.clone(), durable: root, pending: Vec::new() }
    }
}

impl Names {
    /// What a name stands for.
    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.seen.get(path).copied()
    }

    /// All files, sorted.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let files = self.seen.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Names in a directory.
    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if self.get(dir) != Some(Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.seen.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name());
        Ok(names.map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// Fails unless the directory for `path` is there.
    pub(super) fn require_parent(&self, path: &Path) -> io::Result<()> {
        match self.get(crate::embedded::files::parent(path)) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Adds a name.
    pub(super) fn put(&mut self, path: &Path, node: Node) {
        self.change(Change::Put(path.to_owned(), node));
    }

    /// Removes a name.
    pub(super) fn remove(&mut self, path: &Path) {
        self.change(Change::Remove(path.to_owned()));
    }

    /// Renames a file, at once.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(node) = self.get(from) {
            self.change(Change::Rename(from.to_owned(), to.to_owned(), node));
        }
    }

    /// Makes the changes in one directory durable.
    pub(super) fn sync(&mut self, dir: &Path) {
        for change in self.pending.extract_if(.., |change| change.dir() == Some(dir)) {
            change.apply(&mut self.durable);
        }
    }

    /// Loses power: of each directory's changes the first few survive, as in a journal.
    pub(super) fn lose(&mut self, random: &mut impl FnMut() -> u64) {
        let mut broken_off: Vec<PathBuf> = Vec::new();
        for change in self.pending.drain(..) {
            let Some(dir) = change.dir().map(Path::to_owned) else {
                continue;
            };
            if broken_off.contains(&dir) {
                continue;
            }
            if random().is_multiple_of(2) {
                change.apply(&mut self.durable);
            } else {
                broken_off.push(dir);
            }
        }
        self.seen = self.durable.clone();
        // Whatever lay in a directory that is gone is gone with it.
        self.seen.retain(|path, _| {
            path.ancestors().skip(1).all(|above| self.durable.get(above) == Some(&Node::Dir))
        });
        self.durable = self.seen.clone();
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Put(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Put(path, _) | Self::Remove(path) | Self::Rename(path, _, _) => path.parent(),
        }
    }
}
