//! `password` in `[admin]`: what opens the console.

use std::path::Path;

use super::document::{Environment, Node};
use super::secret::{self, Places};
use crate::console::{PASSWORD_CHARACTERS_MIN, Password};

pub(super) fn read(node: &Node, folder: &Path, environment: &Environment) -> Result<Password, String> {
    let bytes = secret::bytes("password", node, Places { folder, environment })?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| "the password is not UTF-8, so nobody could type it".to_owned())?;
    Password::new(text).ok_or_else(|| {
        format!(
            "the password has {} characters; it must have at least {PASSWORD_CHARACTERS_MIN}, since a shorter one can be \
             guessed. Make one with `openssl rand -base64 18`",
            text.chars().count()
        )
    })
}
