//! The witness: a small file beside the tables that says up to which event each table was written.
//!
//! fjall takes a journal whose end is missing for one whose last write a crash cut short, and opens it without a word.
//! Where a disk lost that end, or the folder is a copy of files of different moments, events that were answered are
//! missing then. So each batch puts its newest seq in each table that it changes, and afterwards here: a table that says
//! less than its witness has lost something.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// The newest seq of each table.
pub(super) type Seqs<const TABLES: usize> = [u64; TABLES];

pub(super) struct Witness<const TABLES: usize> {
    file: File,
    seqs: Seqs<TABLES>,
}

impl<const TABLES: usize> Witness<TABLES> {
    /// Opens it, or makes one that claims nothing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let seqs = Self::decode(&bytes).unwrap_or([0; TABLES]);
        let mut this = Self { file, seqs };
        if this.encode() != bytes {
            this.file.set_len(0)?;
            this.write()?;
            this.sync()?;
        }
        Ok(this)
    }

    pub(super) fn seqs(&self) -> &Seqs<TABLES> {
        &self.seqs
    }

    /// The tables for which `is_changed` says so were written up to `seq`.
    pub(super) fn advance(&mut self, seq: u64, is_changed: [bool; TABLES]) -> io::Result<()> {
        for (written, is_changed) in self.seqs.iter_mut().zip(is_changed) {
            if is_changed {
                *written = seq;
            }
        }
        self.write()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn write(&mut self) -> io::Result<()> {
        let bytes = self.encode();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&bytes)
    }

    /// All numbers twice: of two that differ a loss of power wrote one half, and neither is worth anything.
    fn encode(&self) -> Vec<u8> {
        let once = self.seqs.iter().flat_map(|seq| seq.to_be_bytes());
        once.clone().chain(once).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Seqs<TABLES>> {
        let (first, second) = bytes.split_at_checked(bytes.len() / 2)?;
        let (numbers, []) = first.as_chunks::<8>() else {
            return None;
        };
        let numbers = numbers.iter().map(|number| u64::from_be_bytes(*number));
        let seqs = numbers.collect::<Vec<_>>().try_into().ok()?;
        (first == second).then_some(seqs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_written_last_and_nothing_when_it_was_cut_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("written");
        let open = || Witness::<3>::open(&path).unwrap();
        assert_eq!(open().seqs(), &[0, 0, 0]);
        let mut witness = open();
        witness.advance(7, [true, false, true]).unwrap();
        witness.advance(300, [false, false, true]).unwrap();
        assert_eq!(open().seqs(), &[7, 0, 300]);
        let bytes = std::fs::read(&path).unwrap();
        for count in 0..bytes.len() {
            std::fs::write(&path, &bytes[..count]).unwrap();
            assert_eq!(open().seqs(), &[0, 0, 0], "{count} bytes");
            let mut other = bytes.clone();
            other[count] ^= 1;
            std::fs::write(&path, other).unwrap();
            assert_eq!(open().seqs(), &[0, 0, 0], "byte {count}");
        }
        assert_eq!(open().seqs(), &[0, 0, 0]);
    }
}
