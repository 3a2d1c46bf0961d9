//! The password of the console. Only its hash is kept.

use std::fmt;

use crate::api::keys::Hash;

/// The shortest password, in characters.
pub(crate) const PASSWORD_CHARACTERS_MIN: usize = 12;

/// What opens the console.
#[derive(Clone)]
pub(crate) struct Password(Hash);

impl Password {
    /// None when it is too short.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_long = text.chars().count() >= PASSWORD_CHARACTERS_MIN;
        is_long.then(|| Self(Hash::of(text.as_bytes())))
    }

    /// Whether it is the one that was given. How long that takes tells nothing of it.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.is(&Hash::of(given.as_bytes()))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_12_characters_and_is_not_printed() {
        assert!(Password::new("elevenchars").is_none());
        assert!(Password::new("zwölf Äpfel!").is_some());
        let password = Password::new("correct horse").unwrap();
        assert!(password.is("correct horse"));
        for other in ["", "correct hors", "correct horse ", "Correct horse"] {
            assert!(!password.is(other), "{other}");
        }
        assert_eq!(format!("{password:?}"), "Password(hidden)");
    }
}
