//! The store's newest journal, looked at before fjall opens it.
//!
//! fjall drops a last batch that is cut short, but refuses, or panics on, one that has all its bytes and not the right ones. A
//! loss of power leaves such: the kernel writes the pages of a file back in any order, and those of a batch that was never
//! synced need not all have come. So what follows the last whole batch is cut off here. Whether anything is missed then, the
//! [`Witness`](super::witness::Witness) tells.
//!
//! The format is that of fjall 3, `src/journal/entry.rs`: a start (how many entries), entries, an end with the xxh3 of the
//! entries and four fixed bytes.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

const TRAILER: &[u8] = b"FJL\x03";

/// Cuts off what follows the last whole batch of the newest journal in `folder`. What could have been more than one unfinished
/// batch is kept in the file `cut`.
pub(super) fn mend(folder: &Path, cut: &Path) -> io::Result<()> {
    let Some(path) = newest(folder)? else { return Ok(()) };
    let bytes = std::fs::read(&path)?;
    let whole = whole_batches(&bytes);
    let rest = &bytes[whole..];
    let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if written == 0 {
        return Ok(());
    }
    let ends = rest.windows(TRAILER.len()).filter(|bytes| *bytes == TRAILER).count();
    if whole == 0 && ends > 1 {
        // Not one of its batches is as expected: this is another format, and fjall's to judge.
        return Ok(());
    }
    if ends > 0 {
        tracing::warn!(
            bytes = written,
            kept = %cut.display(),
            "the end of the store's journal makes no sense and is cut off"
        );
        std::fs::write(cut, &rest[..written])?;
    }
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(whole as u64)?;
    file.sync_all()
}

/// Journals are named by number.
fn newest(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest: Option<(u64, PathBuf)> = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "jnl"))
            && newest.as_ref().is_none_or(|(highest, _)| number > *highest)
        {
            newest = Some((number, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// How many bytes the whole batches at the beginning are.
fn whole_batches(journal: &[u8]) -> usize {
    let mut rest = journal;
    while let Some(after) = after_batch(rest) {
        rest = after;
    }
    journal.len() - rest.len()
}

/// What follows the batch at the beginning; none where there is no whole one.
fn after_batch(bytes: &[u8]) -> Option<&[u8]> {
    let (start, mut rest) = bytes.split_at_checked(13)?;
    let (1, count) = (start[0], number(&start[1..5])) else {
        return None;
    };
    let entries = rest;
    for _ in 0..count {
        let entry_bytes = match rest.first()? {
            // Kind of value, compression, table, lengths of the key, of the value, of the value as it is here.
            2 => {
                let head = rest.get(..21)?;
                let (key_bytes, value_bytes) = (number(&head[11..13]), number(&head[17..21]));
                21_usize.checked_add(key_bytes)?.checked_add(value_bytes)?
            }
            4 => 9,
            _ => return None,
        };
        rest = rest.get(entry_bytes..)?;
    }
    let hash = xxh3_64(&entries[..entries.len() - rest.len()]);
    let (end, rest) = rest.split_at_checked(13)?;
    (end[0] == 3 && end[1..9] == hash.to_le_bytes() && end[9..] == *TRAILER).then_some(rest)
}

/// A number of at most four bytes.
fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As fjall writes it, with one entry.
    fn batch(key: &[u8], value: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let mut entry = vec![2, 0, 0];
        entry.extend(7_u64.to_le_bytes());
        entry.extend(u16::try_from(key.len()).unwrap().to_le_bytes());
        entry.extend([length(value), length(value)].concat());
        entry.extend([key, value].concat());
        let mut batch = vec![1, 1, 0, 0, 0];
        batch.extend(99_u64.to_le_bytes());
        batch.extend(&entry);
        batch.push(3);
        batch.extend(xxh3_64(&entry).to_le_bytes());
        batch.extend(TRAILER);
        batch
    }

    #[test]
    fn what_follows_the_last_whole_batch_is_cut_off_and_kept_where_it_may_be_more_than_one() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, cut) = (folder.path().join("7.jnl"), folder.path().join("cut"));
        std::fs::write(folder.path().join("6.jnl"), "of before").unwrap();
        std::fs::write(folder.path().join("lock"), "").unwrap();
        let mended = |bytes: &[u8]| {
            let _ = std::fs::remove_file(&cut);
            std::fs::write(&journal, bytes).unwrap();
            mend(folder.path(), &cut).unwrap();
            (std::fs::read(&journal).unwrap(), std::fs::read(&cut).ok())
        };
        let batches = [batch(b"key", b"value"), batch(b"", b""), batch(b"other", &[0; 300])];
        let (first, all) = (batches[0].len(), batches.concat());
        // Whole, also with the zeros that are there for what is to come.
        for bytes in [&all[..], &[&all[..], &[0; 100]].concat(), &[0; 50], b""] {
            assert_eq!(mended(bytes), (bytes.to_vec(), None));
        }
        // Cut short: nobody was told of it, and it is no more than one.
        for at in first + 1..first + batches[1].len() {
            assert_eq!(mended(&all[..at]), (batches[0].clone(), None), "{at}");
        }
        // Each bit counts.
        for at in first..first + batches[1].len() {
            let mut harmed = all.clone();
            harmed[at] ^= 0x10;
            // How fjall counts its writes is no part of the checksum.
            let expected = if (first + 5..first + 13).contains(&at) {
                (harmed.clone(), None)
            } else {
                (batches[0].clone(), Some(harmed[first..].to_vec()))
            };
            assert_eq!(mended(&harmed), expected, "{at}");
        }
        assert_eq!(std::fs::read(folder.path().join("6.jnl")).unwrap(), b"of before");
    }

    #[test]
    fn a_journal_of_another_format_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, cut) = (folder.path().join("0.jnl"), folder.path().join("cut"));
        let mut bytes = [batch(b"key", b"value"), batch(b"key", b"other")].concat();
        bytes[0] = 9;
        std::fs::write(&journal, &bytes).unwrap();
        mend(folder.path(), &cut).unwrap();
        assert_eq!(std::fs::read(&journal).unwrap(), bytes);
        assert!(!cut.exists());
    }
}
