//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::document::Origin;
use crate::token::SecretError;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it stands.
    pub(crate) origin: Origin,
    /// What it is, with the key, what was given and what is meant.
    pub(crate) message: String,
}

impl Problem {
    pub(super) fn new(origin: Origin, message: String) -> Self {
        Self { origin, message }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("{}: can't be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file that keeps a key of `--dev` can't be read or written.
    #[error("{}: the key of --dev can't be kept: {source}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It says something that can't be meant.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// `--dev` has no key.
    #[error(transparent)]
    Random(#[from] SecretError),
}

impl ConfigError {
    /// Whether the command line alone is to blame.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            ConfigError::Invalid(problems) => problems
                .list
                .iter()
                .all(|problem| matches!(problem.origin, Origin::Flag(_))),
            ConfigError::Unreadable { .. } | ConfigError::Key { .. } | ConfigError::Random(_) => false,
        }
    }
}

/// All that is wrong, in the file's order, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Problems {
    file: Option<PathBuf>,
    list: Vec<Problem>,
}

impl Problems {
    /// The problems of what was read from `file` and around it.
    pub(super) fn new(file: Option<&Path>, mut list: Vec<Problem>) -> Self {
        list.sort_by(|one, other| one.origin.cmp(&other.origin));
        Self {
            file: file.map(Path::to_path_buf),
            list,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { origin, message }) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (origin, &self.file) {
                (Origin::Line(line), Some(file)) => write!(f, "{}:{line}: {message}", file.display())?,
                (Origin::Line(line), None) => write!(f, "line {line}: {message}")?,
                (Origin::Variable(name), _) => write!(f, "{name}: {message}")?,
                (Origin::Flag(name), _) => write!(f, "{name}: {message}")?,
                (Origin::Nowhere, Some(file)) => write!(f, "{}: {message}", file.display())?,
                (Origin::Nowhere, None) => f.write_str(message)?,
            }
        }
        Ok(())
    }
}
