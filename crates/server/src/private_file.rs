//! Files that nobody else may read: keys, and what was learnt from others.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Writes a file, whole or not at all, and makes its folder where there is none.
///
/// # Errors
/// When it can't be written; then what was there before is there still.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut unfinished = PathBuf::from(file);
    unfinished.set_extension(format!("{}.new", std::process::id()));
    let mut writer = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    let written = writer.write_all(bytes).and_then(|()| writer.sync_all());
    written.and_then(|()| fs::rename(&unfinished, file)).inspect_err(|_| {
        // What could not be written is of no use; the error is told anyway.
        let _ = fs::remove_file(&unfinished);
    })?;
    // Its name is the folder's to keep.
    fs::File::open(folder)?.sync_all()
}
