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
    if rest.windows(TRAILER.len()).any(|bytes| bytes == TRAILER) {
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
