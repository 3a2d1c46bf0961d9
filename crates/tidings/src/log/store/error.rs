//! Why a store can't be opened or written, and what can be done about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder, or something in it, can't be made or written.
    #[error(
        "the store's folder {} can't be written ({source}); let this process write there, or set another folder",
        path.display()
    )]
    NotWritable {
        /// The folder that was set.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk, or this user's part of it, is full.
    #[error("the disk of the store's folder {} is full ({source}); make room on it", path.display())]
    Full {
        /// The folder that was set.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A newer version of Tidings wrote it.
    #[error(
        "the store in {} has format {found}, and this version of Tidings knows formats up to {known}; \
         run the version that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The folder that was set.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// Another process has it open.
    #[error(
        "the store in {} is in use by another process; stop that one, or give this one a folder of its own",
        path.display()
    )]
    InUse {
        /// The folder that was set.
        path: PathBuf,
    },
    /// The folder holds something else.
    #[error("{} is no folder of a store ({found}); set a new or an empty folder", path.display())]
    NotAStore {
        /// The path that was set.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// What it holds makes no sense.
    #[error(
        "the store in {} is damaged ({detail}); put a backup of the folder in its place, or move it away to begin anew",
        path.display()
    )]
    Damaged {
        /// The folder that was set.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The operating system refused something else.
    #[error("the store in {} can't be opened ({source})", path.display())]
    Io {
        /// The folder that was set.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl StoreError {
    /// The code that publishers get while it lasts.
    pub(in crate::log) fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// An error that comes from what a file holds, not from the operating system.
pub(super) fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotFound
            | io::ErrorKind::AlreadyExists
    )
}

pub(super) fn not_writable(path: &Path, source: io::Error) -> StoreError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full { path, source }
        }
        io::ErrorKind::Other => StoreError::Io { path, source },
        _ => StoreError::NotWritable { path, source },
    }
}
