//! A file in `data` to which lines of JSON are added: what was answered is there after a crash. It is read, and written anew, at
//! start and when most of it is no longer true.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings::{Code, Error};

use crate::private_file;

/// Lines that may stand there for nothing before the file is written anew.
const STALE_MAX: usize = 10_000;

/// The file, open to be added to.
pub(crate) struct Journal {
    path: PathBuf,
    /// None where it has to be opened anew: another file may have its name.
    file: Option<File>,
    /// How long it is when whole.
    bytes: u64,
    lines: usize,
}

impl Journal {
    /// Hands what a file holds to `take`, in its order. One that is not there holds nothing.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(crate) fn read<L: DeserializeOwned>(path: &Path, mut take: impl FnMut(L)) -> io::Result<()> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(named(path, error)),
        };
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            match serde_json::from_slice(line) {
                Ok(line) => take(line),
                Err(_) if line.is_empty() => {}
                // Cut short by a crash: then it was not answered.
                Err(error) => {
                    tracing::warn!(file = %path.display(), line = number + 1, %error, "a line can't be read");
                }
            }
        }
        Ok(())
    }

    /// Begins the file anew with these lines.
    ///
    /// # Errors
    /// When it can't be written; what was there is there still.
    pub(crate) fn begin<L: Serialize>(path: &Path, lines: impl Iterator<Item = L>) -> io::Result<Self> {
        let begin = || {
            let (mut whole, mut count) = (Vec::new(), 0);
            for line in lines {
                write_line(&mut whole, &line)?;
                count += 1;
            }
            private_file::write(path, &whole)?;
            Ok(Self {
                path: path.to_owned(),
                file: Some(OpenOptions::new().append(true).open(path)?),
                bytes: whole.len() as u64,
                lines: count,
            })
        };
        begin().map_err(|error| named(path, error))
    }

    /// What is said to who asked for a line that can't be kept.
    pub(crate) fn refusal(error: &io::Error, message: &'static str) -> Error {
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let code = if is_full { Code::StoreFull } else { Code::Unavailable };
        Error::coded(code, message)
    }

    /// Adds a line, and returns when the disk has it.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn append<L: Serialize>(&mut self, line: &L) -> io::Result<()> {
        let mut bytes = Vec::new();
        write_line(&mut bytes, line)?;
        let written = self.write(&bytes);
        written.map_err(|error| named(&self.path, error))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().append(true).open(&self.path)?;
                self.bytes = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        let written = file.write_all(bytes).and_then(|()| file.sync_data());
        match written {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                self.lines += 1;
            }
            // Half a line must not stand before the next one. If that fails too, reading passes over both.
            Err(_) => drop(file.set_len(self.bytes)),
        }
        written
    }

    /// Begins the file anew with these lines. If that fails, it goes on with what has its name.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn begin_anew<L: Serialize>(&mut self, lines: impl Iterator<Item = L>) -> io::Result<()> {
        self.file = None;
        *self = Self::begin(&self.path, lines)?;
        Ok(())
    }

    /// Whether it is worth beginning it anew, with so many lines.
    pub(crate) fn is_stale(&self, lines: usize) -> bool {
        self.lines > 2 * lines + STALE_MAX
    }
}

fn write_line<L: Serialize>(out: &mut Vec<u8>, line: &L) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
