//! `tidings config check` and `tidings config example`.

use super::{Check, Exit, Failure};
use crate::config::{Config, Environment, Sources};

/// Checks a configuration; the line to print when it is good.
///
/// # Errors
/// With all that is wrong in it.
pub(crate) fn check(check: &Check, environment: Environment) -> Result<String, Failure> {
    let file = check.config.clone().or_else(|| check.file.clone());
    Config::load(&Sources {
        file: file.clone(),
        environment,
        ..Sources::default()
    })?;
    Ok(match file {
        Some(file) => format!("{}: good", file.display()),
        None => "the environment: good".to_owned(),
    })
}

/// The example.
///
/// # Errors
/// When the system has no random bytes for its secret.
pub(crate) fn example() -> Result<String, Failure> {
    let example = Config::example().map_err(|error| Failure {
        exit: Exit::Failed,
        message: error.to_string(),
    })?;
    Ok(example.trim_end().to_owned())
}
