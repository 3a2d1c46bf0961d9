//! The keys of `--dev`: made at random where none is configured, and kept in `data` when there is such a folder, so
//! that tokens hold after a restart.

use std::fs;
use std::io;
use std::path::Path;

use super::document::{self, Node, Origin, Table, Value};
use super::{Config, ConfigError};
use crate::private_file;
use crate::token::{Secret, SecretError};

/// The files in `data`.
const TOKEN_KEY_FILE: &str = "dev-token.key";
const API_KEY_FILE: &str = "dev-api.key";

/// Which keys were made up.
#[derive(Default)]
pub(super) struct Made {
    token_key: bool,
    api_key: bool,
}

/// Gives each key that is missing.
pub(super) fn give_keys(table: &mut Table) -> Result<Made, SecretError> {
    Ok(Made {
        token_key: give_key(table, "auth", "hs256")?,
        api_key: give_key(table, "api", "key")?,
    })
}

/// Whether there was none.
fn give_key(table: &mut Table, section: &str, key: &str) -> Result<bool, SecretError> {
    let is_due = match table.get(section).map(|node| &node.value) {
        None => true,
        Some(Value::Table(section)) => !section.contains_key(key),
        // It is wrong, and is told so when it is read.
        Some(_) => false,
    };
    if is_due {
        let secret = Secret::random()?;
        let node = Node {
            value: Value::Text(String::from_utf8_lossy(secret.bytes()).into_owned()),
            origin: Origin::Flag("--dev"),
        };
        document::insert(table, &[section, key], node);
    }
    Ok(is_due)
}

impl Made {
    /// Replaces those that were made up by those of the last time, where there is a folder for them.
    pub(super) fn keep(&self, config: &mut Config) -> Result<(), ConfigError> {
        let Some(folder) = &config.data else { return Ok(()) };
        if let Some(made) = config.auth.secret.as_ref().filter(|_| self.token_key) {
            let secret = kept(folder, TOKEN_KEY_FILE, made)?;
            config.auth.replace_secret(secret);
        }
        if let Some(made) = config.api.key.as_mut().filter(|_| self.api_key) {
            *made = kept(folder, API_KEY_FILE, made)?;
        }
        Ok(())
    }
}

/// What the file holds; it is made with `new` when there is none.
fn kept(folder: &Path, name: &str, new: &Secret) -> Result<Secret, ConfigError> {
    let file = folder.join(name);
    let failed = |source| ConfigError::Key {
        file: file.clone(),
        source,
    };
    let bytes = match fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private_file::write(&file, &[new.bytes(), b"\n"].concat()).map_err(failed)?;
            return Ok(new.clone());
        }
        Err(error) => return Err(failed(error)),
    };
    let text = bytes.trim_ascii_end();
    match Secret::new(text) {
        Ok(secret) if text.iter().all(u8::is_ascii_graphic) => Ok(secret),
        _ => Err(failed(io::Error::other(
            "it holds no key; remove it, and a new one is made",
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    /// A folder that is gone when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidings-{}-dev-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_is_the_same_the_next_time_and_for_nobody_else_to_read() {
        let folder = Folder::new("same");
        let inner = folder.0.join("data");
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_eq!(kept(&inner, "a.key", &one).unwrap(), one);
        assert_eq!(kept(&inner, "a.key", &other).unwrap(), one);
        assert_eq!(kept(&inner, "b.key", &other).unwrap(), other);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&inner), mode(&inner.join("a.key"))), (0o700, 0o600));
        let names = fs::read_dir(&inner).unwrap().count();
        assert_eq!(names, 2, "nothing unfinished is left");
    }

    #[test]
    fn a_file_without_a_key_is_named_and_not_shown() {
        let folder = Folder::new("bad");
        fs::create_dir_all(&folder.0).unwrap();
        for content in ["", "s3cret", "s3cret s3cret s3cret s3cret s3cret s3cret"] {
            fs::write(folder.0.join("a.key"), content).unwrap();
            let error = kept(&folder.0, "a.key", &Secret::random().unwrap())
                .unwrap_err()
                .to_string();
            assert!(error.contains("a.key") && error.contains("remove it"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let folder = Folder::new("file");
        fs::write(&folder.0, "").unwrap();
        let error = kept(&folder.0, "a.key", &Secret::random().unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("a.key"), "{error}");
        fs::remove_file(&folder.0).unwrap();
    }
}
