//! `{"_placeholder":true,"num":n}`: where attachment n belongs.

use super::Error;
use crate::json::{DEPTH_MAX, Reader, Visitor, string_text};

/// Checks that each placeholder in the payload of a binary packet names one of its attachments.
///
/// A placeholder is any object, wherever it lies, whose `_placeholder` is `true`, whatever other keys it has; its `num` must
/// be plain decimal digits for a number below `attachments`. Several may name the same attachment, and one need not be
/// named. `data` is the whole payload, or a list of arguments.
///
/// # Errors
/// [`Error::Placeholder`] for one that does not, [`Error::Json`] where `data` is not JSON.
///
/// ```
/// use tidings_protocol::socketio::check_placeholders;
/// assert!(check_placeholders(r#"["a",{"_placeholder":true,"num":0}]"#, 1).is_ok());
/// assert!(check_placeholders(r#"["a",{"_placeholder":true,"num":1}]"#, 1).is_err());
/// ```
pub fn check_placeholders(data: &str, attachments: usize) -> Result<(), Error> {
    // The list around the arguments is a level too.
    let mut reader = Reader::of_depth(data, DEPTH_MAX + 1);
    let mut check = Check {
        attachments,
        key: Key::Other,
        levels: Vec::new(),
    };
    if reader.peek().is_none() {
        return Ok(());
    }
    loop {
        reader.value(&mut check)?;
        if !reader.take(b',') {
            return Ok(reader.end()?);
        }
    }
}

/// Of the keys of an object, those that matter.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    Other,
    Placeholder,
    Num,
}

/// The bits of a level. As in JavaScript, of a key that is there twice the last counts.
const PLACEHOLDER: u8 = 1;
const NUM_VALID: u8 = 2;

struct Check {
    attachments: usize,
    /// The key whose value is next.
    key: Key,
    /// A byte a level, the innermost last.
    levels: Vec<u8>,
}

impl Check {
    /// A value begins: notes in the object around it what that means there.
    fn note(&mut self, scalar: &str) {
        let key = std::mem::replace(&mut self.key, Key::Other);
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let (bit, set) = match key {
            Key::Other => return,
            Key::Placeholder => (PLACEHOLDER, scalar == "true"),
            // JSON knows no `+`, so what parses is digits only.
            Key::Num => {
                let num = scalar.parse::<usize>();
                (NUM_VALID, num.is_ok_and(|num| num < self.attachments))
            }
        };
        *level = if set { *level | bit } else { *level & !bit };
    }
}

impl Visitor for Check {
    type Error = Error;

    fn open(&mut self, _object: bool, _at: usize) {
        self.note("");
        self.levels.push(0);
    }

    fn key(&mut self, raw: &str) {
        self.key = match string_text(raw).as_deref() {
            Some("_placeholder") => Key::Placeholder,
            Some("num") => Key::Num,
            _ => Key::Other,
        };
    }

    fn scalar(&mut self, raw: &str) {
        self.note(raw);
    }

    fn close(&mut self, _object: bool, _end: usize) -> Result<(), Error> {
        let level = self.levels.pop().unwrap_or_default();
        if level & PLACEHOLDER != 0 && level & NUM_VALID == 0 {
            return Err(Error::Placeholder {
                attachments: self.attachments,
            });
        }
        Ok(())
    }
}
