//! A disk in memory that forgets like a real one.
//!
//! Written bytes survive a kill; only synced ones survive a loss of power for certain. Of the rest
//! each 512-byte sector is kept or lost by a seed, and so are names that were not synced. After a
//! failed sync the lost bytes count as clean: a later sync does not write them, as on Linux.

mod sim_file;
mod sim_handle;
mod sim_names;

use super::{
    disk::{Access, Disk, DiskFile, Lock},
    lock,
    random::mix,
};
use sim_file::SimBytes;
use sim_handle::{SimFile, SimLock};
use sim_names::{Names, Node};
use std::{
    any::Any,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// A simulated disk. A new one has the root directory `/`.
///
/// Clones share it, and each clone is the disk as the process that lives at that moment sees it:
/// once that process is dead, its clone does no I/O any more. A test keeps one value to control the
/// disk, which always works, and hands a new clone to each process.
#[derive(Debug, Default)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    life: u64,
}

impl Clone for SimDisk {
    fn clone(&self) -> Self {
        self.of(&lock(&self.world))
    }
}

#[derive(Debug, Default)]
struct World {
    names: Names,
    files: BTreeMap<u64, SimBytes>,
    locks: BTreeMap<PathBuf, (u64, String)>,
    next_id: u64,
    /// Counts lives of the process; handles of an earlier life fail.
    life: u64,
    capacity_bytes: Option<u64>,
    failing_syncs: u64,
    failing_writes: u64,
    /// Changes that the process may still make before it dies.
    changes_left: Option<u64>,
    syncs: u64,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The process dies: its handles and locks are void, what it wrote stays.
    pub fn kill(&self) {
        let mut world = lock(&self.world);
        world.life += 1;
        world.locks.clear();
        world.changes_left = None;
    }

    /// The power fails: like a kill, and what was not synced is kept or lost by the seed.
    pub fn power_loss(&self, seed: u64) {
        self.kill();
        let mut world = lock(&self.world);
        let mut place = 0;
        let mut random = || {
            place += 1;
            mix(seed, place)
        };
        world.names.lose(&mut random);
        for file in world.files.values_mut() {
            file.lose(&mut random);
        }
    }

    /// The process dies by itself once it has made this many more changes: every later call of a
    /// handle fails until [`Self::kill`] or [`Self::power_loss`] begins a new life.
    pub fn die_after_changes(&self, changes: u64) {
        lock(&self.world).changes_left = Some(changes);
    }

    /// Limits the bytes of all files together; `None` is no limit.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        lock(&self.world).capacity_bytes = capacity_bytes;
    }

    /// Lets the next syncs of files fail, and lose what they should have kept.
    pub fn fail_syncs(&self, syncs: u64) {
        lock(&self.world).failing_syncs = syncs;
    }

    /// Lets the next writes fail with an I/O error.
    pub fn fail_writes(&self, writes: u64) {
        lock(&self.world).failing_writes = writes;
    }

    /// How many syncs of files there were.
    pub fn syncs(&self) -> u64 {
        lock(&self.world).syncs
    }

    /// Bytes of all files together.
    pub fn used_bytes(&self) -> u64 {
        lock(&self.world).used_bytes()
    }

    /// All files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        lock(&self.world).names.files()
    }

    /// What a reader of the file would see.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let world = lock(&self.world);
        world.file(path).ok().and_then(|id| Some(world.files.get(&id)?.seen.clone()))
    }

    /// Replaces a file's contents, durably, as somebody else might.
    pub fn set_contents(&self, path: &Path, contents: Vec<u8>) {
        let mut world = lock(&self.world);
        let id = world.file(path).unwrap_or_else(|_| world.make_file(path));
        world.names.sync(super::files::parent(path));
        world.files.insert(id, SimBytes::durable(contents));
    }

    /// Removes a file, durably, as somebody else might.
    pub fn delete(&self, path: &Path) {
        let mut world = lock(&self.world);
        world.names.remove(path);
        world.names.sync(super::files::parent(path));
    }

    /// Flips one bit of a file, as a broken disk might.
    pub fn flip_bit(&self, path: &Path, bit: usize) {
        if let Some(mut contents) = self.contents(path) {
            contents[bit / 8] ^= 1 << (bit % 8);
            self.set_contents(path, contents);
        }
    }

    /// Makes one change, if the process is alive to make it.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let mut world = lock(&self.world);
        world.live(self.life)?;
        world.changes_left = world.changes_left.map(|left| left - 1);
        change(&mut world)
    }

    /// Looks at something, if the process is alive to see it.
    fn look<T>(&self, look: impl FnOnce(&World) -> io::Result<T>) -> io::Result<T> {
        let world = lock(&self.world);
        world.live(self.life)?;
        look(&world)
    }

    /// The disk as the process that lives now sees it.
    fn of(&self, world: &World) -> Self {
        Self { world: Arc::clone(&self.world), life: world.life }
    }

    fn handle(&self, world: &World, id: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.of(world), id })
    }
}

impl World {
    fn live(&self, life: u64) -> io::Result<()> {
        let alive = self.life == life && self.changes_left != Some(0);
        if alive { Ok(()) } else { Err(dead()) }
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(id),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn make_file(&mut self, path: &Path) -> u64 {
        self.next_id += 1;
        self.files.insert(self.next_id, SimBytes::default());
        self.names.put(path, Node::File(self.next_id));
        self.next_id
    }

    fn used_bytes(&self) -> u64 {
        let named = self.names.files();
        let bytes = named.iter().filter_map(|path| self.files.get(&self.file(path).ok()?));
        bytes.map(|file| file.seen.len() as u64).sum()
    }

    fn free_bytes(&self) -> u64 {
        let capacity = self.capacity_bytes.unwrap_or(u64::MAX);
        capacity.saturating_sub(self.used_bytes())
    }

    fn write(&mut self, id: u64, bytes: &[u8], at: usize) -> io::Result<()> {
        if self.failing_writes > 0 {
            self.failing_writes -= 1;
            return Err(broken("write"));
        }
        let free_bytes = self.free_bytes();
        let file = self.files.get_mut(&id).ok_or_else(dead)?;
        let room = (file.seen.len() as u64).saturating_add(free_bytes);
        // What fits is written before the disk says that it is full.
        let fitting = room.saturating_sub(at as u64).min(bytes.len() as u64) as usize;
        file.write(&bytes[..fitting], at);
        if fitting < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self, id: u64) -> io::Result<()> {
        self.syncs += 1;
        let file = self.files.get_mut(&id).ok_or_else(dead)?;
        if self.failing_syncs > 0 {
            self.failing_syncs -= 1;
            file.fail_sync();
            return Err(broken("sync"));
        }
        file.sync();
        Ok(())
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

fn broken(what: &str) -> io::Error {
    io::Error::other(format!("simulated {what} error"))
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(|world| match world.names.get(dir) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                world.names.require_parent(dir)?;
                world.names.put(dir, Node::Dir);
                Ok(())
            }
        })
    }

    fn exists(&self, path: &Path) -> bool {
        self.look(|world| Ok(world.names.get(path).is_some())).unwrap_or(false)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.look(|world| world.names.list(dir))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.change(|world| {
            world.names.require_parent(path)?;
            let id = match world.names.get(path) {
                Some(Node::File(id)) => {
                    world.files.entry(id).or_default().truncate(0);
                    id
                }
                Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
                None => world.make_file(path),
            };
            Ok(self.handle(world, id))
        })
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.look(|world| world.file(path).map(|id| self.handle(world, id)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|world| {
            world.file(from)?;
            world.names.rename(from, to);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|world| {
            world.file(path)?;
            world.names.remove(path);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(|world| {
            world.names.sync(dir);
            Ok(())
        })
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        self.look(|world| Ok(world.free_bytes()))
    }

    fn lock(&self, path: &Path, owner: &str) -> io::Result<Lock> {
        self.change(|world| {
            if let Some((_, owner)) = world.locks.get(path) {
                return Ok(Lock::Busy(owner.clone()));
            }
            world.locks.insert(path.to_owned(), (world.life, owner.to_owned()));
            let held: Box<dyn Any + Send + Sync> =
                Box::new(SimLock { disk: self.of(world), path: path.to_owned() });
            Ok(Lock::Held(held))
        })
    }
}
