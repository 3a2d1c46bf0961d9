//! The folder of a store, and that one process at a time has it.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{StoreError, not_writable};

/// The version of what is written; a newer one is refused.
const FORMAT: u32 = 1;
const FORMAT_TEXT: &str = "tidings store, format ";
/// Follows the number until the store has been opened once; so long it holds nothing that anybody was promised.
const NEW_TEXT: &str = ", new";

/// How long another may still have the lock.
const LOCKED: Duration = Duration::from_secs(1);
/// A disk counts as writable when so much can be written.
pub(super) const PROBE_BYTES: usize = 256 << 10;

/// Keeps other processes out; open as long as the server wants the store, also while it is closed because it failed.
pub(in crate::log) struct StoreLock {
    pub(super) path: PathBuf,
    pub(super) folder: PathBuf,
    is_new: Cell<bool>,
    _file: File,
}

impl StoreLock {
    /// Makes the folder if need be, and keeps other processes out of it.
    pub(in crate::log) fn take(path: &Path) -> Result<Self, StoreError> {
        let folder = path.join("store");
        if path.exists() && !path.is_dir() {
            return Err(StoreError::NotAStore {
                path: path.to_owned(),
                found: "it is a file".to_owned(),
            });
        }
        make_folder(&folder).map_err(|source| not_writable(path, source))?;
        check_entries(path, &folder)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))
            .map_err(|source| not_writable(path, source))?;
        let locked = patiently(
            || lock.try_lock(),
            |error| matches!(error, std::fs::TryLockError::WouldBlock),
        );
        match locked {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.to_owned() }),
            Err(std::fs::TryLockError::Error(source)) => {
                return Err(StoreError::Io {
                    path: path.to_owned(),
                    source,
                });
            }
        }
        let this = Self {
            path: path.to_owned(),
            folder,
            is_new: Cell::new(false),
            _file: lock,
        };
        // Not before it is locked: another process may just have made it.
        match std::fs::read_to_string(this.folder.join("format")) {
            Ok(text) => this.check_format(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                this.is_new.set(true);
                this.write_format()?;
            }
            Err(error) => return Err(this.damaged(&format!("store/format can't be read: {error}"))),
        }
        Ok(this)
    }

    fn check_format(&self, text: &str) -> Result<(), StoreError> {
        let path = self.path.clone();
        let text = text.trim();
        self.is_new.set(text.ends_with(NEW_TEXT));
        let number = text.strip_suffix(NEW_TEXT).unwrap_or(text).strip_prefix(FORMAT_TEXT);
        match number.map(str::parse) {
            Some(Ok(FORMAT)) => Ok(()),
            Some(Ok(found)) => Err(StoreError::Newer {
                path,
                found,
                known: FORMAT,
            }),
            _ => Err(self.damaged("store/format names no format")),
        }
    }

    fn write_format(&self) -> Result<(), StoreError> {
        let written = || -> io::Result<()> {
            let draft = self.folder.join("format.new");
            let mut file = File::create(&draft)?;
            let new = if self.is_new.get() { NEW_TEXT } else { "" };
            writeln!(file, "{FORMAT_TEXT}{FORMAT}{new}")?;
            file.sync_all()?;
            std::fs::rename(&draft, self.folder.join("format"))?;
            sync_folder(&self.folder)?;
            sync_folder(&self.path)
        };
        written().map_err(|source| not_writable(&self.path, source))
    }

    /// The error for something in it that makes no sense.
    pub(in crate::log) fn damaged(&self, detail: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            detail: detail.to_owned(),
        }
    }

    /// Whether the store was never opened before.
    pub(in crate::log) fn is_new(&self) -> bool {
        self.is_new.get()
    }

    /// From now on, what the store holds was promised to somebody.
    pub(in crate::log) fn begin(&self) -> Result<(), StoreError> {
        self.is_new.set(false);
        self.write_format()
    }

    /// Whether anything can be written at all.
    pub(in crate::log) fn probe(&self) -> Result<(), StoreError> {
        let probe = self.folder.join("probe");
        let written = || -> io::Result<()> {
            let mut file = File::create(&probe)?;
            file.write_all(&vec![0x55; PROBE_BYTES])?;
            file.sync_all()
        };
        let outcome = written();
        let removed = std::fs::remove_file(&probe);
        outcome.and(removed).map_err(|source| not_writable(&self.path, source))
    }
}

/// What people say to each other is not for every user of the machine.
fn make_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Makes sure that a folder without a format is none of somebody else's.
fn check_entries(path: &Path, folder: &Path) -> Result<(), StoreError> {
    let listed = || -> io::Result<Option<String>> {
        let mut other = None;
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            if name == "format" {
                return Ok(None);
            }
            if name != "lock" && name != "format.new" && name != "probe" {
                other = Some(name.display().to_string());
            }
        }
        Ok(other)
    };
    match listed().map_err(|source| not_writable(path, source))? {
        None => Ok(()),
        Some(name) => Err(StoreError::NotAStore {
            path: path.to_owned(),
            found: format!("it holds store/{name} and no store/format"),
        }),
    }
}

/// Tries again for a while: who had the lock may just be ending, and so may a child of this process that has not yet
/// become another program.
pub(super) fn patiently<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_locked: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let begin = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_locked(&error) && begin.elapsed() < LOCKED => {
                std::thread::sleep(Duration::from_millis(10))
            }
            outcome => return outcome,
        }
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}
