//! The bytes of a simulated file: what a reader sees, and what a loss of power leaves.

use std::collections::BTreeSet;

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// A file's contents, twice.
#[derive(Debug, Default)]
pub(super) struct SimBytes {
    /// What a reader sees.
    pub(super) seen: Vec<u8>,
    /// What is on the disk for certain.
    durable: Vec<u8>,
    /// Sectors that the next sync will write.
    dirty: BTreeSet<usize>,
}

impl SimBytes {
    /// A file that is on the disk as it is seen.
    pub(super) fn durable(contents: Vec<u8>) -> Self {
        Self { durable: contents.clone(), seen: contents, dirty: BTreeSet::new() }
    }

    /// Writes, without syncing.
    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    /// Cuts the file, without syncing.
    pub(super) fn truncate(&mut self, size: usize) {
        self.seen.truncate(size);
        self.dirty.retain(|sector| sector * SECTOR_BYTES < size);
    }

    /// Makes the file's size and its dirty sectors durable.
    pub(super) fn sync(&mut self) {
        self.durable.resize(self.seen.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
    }

    /// The dirty sectors are not written, and count as clean from now on.
    pub(super) fn fail_sync(&mut self) {
        self.dirty.clear();
    }

    /// Loses power: size and dirty sectors are each taken from before or after the last sync.
    pub(super) fn lose(&mut self, random: &mut impl FnMut() -> u64) {
        let (short, long) = match self.durable.len() <= self.seen.len() {
            true => (self.durable.len(), self.seen.len()),
            false => (self.seen.len(), self.durable.len()),
        };
        let size = match random() % 3 {
            0 => short,
            1 => long,
            _ => short + (random() % (long - short + 1) as u64) as usize,
        };
        self.durable.resize(size, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if random().is_multiple_of(2) {
                self.keep(sector);
            }
        }
        self.seen = self.durable.clone();
    }

    fn keep(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.seen.len()).min(self.durable.len());
        if start < end {
            self.durable[start..end].copy_from_slice(&self.seen[start..end]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::random::mix;

    fn after_power_loss(file: &mut SimBytes, seed: u64) -> Vec<u8> {
        let mut place = 0;
        file.lose(&mut || {
            place += 1;
            mix(seed, place)
        });
        file.seen.clone()
    }

    #[test]
    fn synced_bytes_survive_every_loss_of_power() {
        for seed in 0..100 {
            let mut file = SimBytes::default();
            file.write(&[1; 700], 0);
            file.sync();
            file.write(&[2; 900], 700);
            assert!(after_power_loss(&mut file, seed).starts_with(&[1; 700]), "seed {seed}");
        }
    }

    #[test]
    fn unsynced_sectors_are_sometimes_kept_and_sometimes_lost() {
        let outcomes: BTreeSet<_> = (0..100)
            .map(|seed| {
                let mut file = SimBytes::default();
                file.write(&[1; 1024], 0);
                after_power_loss(&mut file, seed)
            })
            .collect();
        assert!(outcomes.contains(&Vec::new()));
        assert!(outcomes.contains(&[1; 1024][..]));
        assert!(outcomes.contains(&[[0; 512], [1; 512]].concat()));
    }

    #[test]
    fn a_failed_sync_leaves_bytes_that_the_next_sync_does_not_write() {
        let mut file = SimBytes::default();
        file.write(&[1; 512], 0);
        file.fail_sync();
        file.sync();
        assert_eq!(file.seen, [1; 512]);
        assert_eq!(after_power_loss(&mut file, 1), [0; 512]);
    }
}
