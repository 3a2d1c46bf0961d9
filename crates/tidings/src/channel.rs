//! Channel names, and how Socket.IO's rooms and namespaces map to them.
//!
//! Room `r` of namespace `/` is channel `r`; of namespace `/n` it is `/n,r`; everyone in a namespace is channel `/` or `/n`.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::error::{Code, Error};

/// The longest channel name, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 255;

/// The name of a channel. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Channel(Arc<str>);

impl Channel {
    /// The channel of a room of a namespace.
    ///
    /// # Errors
    /// `invalid_channel` when the room's name is empty, longer than 255 bytes, has control characters or begins with `/`.
    pub(crate) fn room(namespace: &str, room: &str) -> Result<Self, Error> {
        check(room)?;
        if namespace == "/" {
            Ok(Self(Arc::from(room)))
        } else {
            let mut name = String::with_capacity(namespace.len() + 1 + room.len());
            name.extend([namespace, ",", room]);
            Ok(Self(Arc::from(name)))
        }
    }

    /// The channel of everyone in a namespace.
    pub(crate) fn everyone(namespace: &Arc<str>) -> Self {
        Self(Arc::clone(namespace))
    }

    /// The channel of a name that the store has kept.
    pub(crate) fn stored(name: Arc<str>) -> Self {
        Self(name)
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.0
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace it belongs to.
    pub(crate) fn namespace(&self) -> &str {
        if !self.0.starts_with('/') {
            return "/";
        }
        match self.0.split_once(',') {
            Some((namespace, _)) => namespace,
            None => &self.0,
        }
    }

    /// The name that clients see.
    pub(crate) fn shown(&self) -> &str {
        self.room_name().unwrap_or(&self.0)
    }

    /// The room's name as the application knows it; none for the channel of everyone.
    pub(crate) fn room_name(&self) -> Option<&str> {
        if !self.0.starts_with('/') {
            return Some(&self.0);
        }
        self.0.split_once(',').map(|(_, room)| room)
    }
}

/// Whether `name` may be a channel or a room.
///
/// # Errors
/// `invalid_channel`, with a message that says which rule it breaks.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "a channel name can't be empty"
    } else if name.len() > CHANNEL_BYTES_MAX {
        "a channel name has at most 255 bytes"
    } else if name.starts_with('/') {
        "a channel name can't begin with '/', which stands for namespaces"
    } else if name.chars().any(char::is_control) {
        "a channel name can't have control characters"
    } else {
        return Ok(());
    };
    Err(Error::coded(Code::InvalidChannel, problem))
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_map_to_channels_and_back() {
        for (namespace, room, channel) in [("/", "r", "r"), ("/n", "r", "/n,r"), ("/a/b", "x,y", "/a/b,x,y")] {
            let mapped = Channel::room(namespace, room).unwrap();
            assert_eq!(
                (mapped.as_str(), mapped.namespace(), mapped.room_name()),
                (channel, namespace, Some(room))
            );
        }
        let everyone = Channel::everyone(&Arc::from("/n"));
        assert_eq!(
            (everyone.as_str(), everyone.namespace(), everyone.room_name()),
            ("/n", "/n", None)
        );
    }

    #[test]
    fn names_are_checked_at_the_limit_and_past_it() {
        assert!(check(&"x".repeat(CHANNEL_BYTES_MAX)).is_ok());
        assert!(check("größe 1").is_ok());
        for bad in ["", "/x", "a\nb", "\u{7f}", &"x".repeat(CHANNEL_BYTES_MAX + 1)] {
            assert_eq!(check(bad).unwrap_err().code(), "invalid_channel", "{bad:?}");
        }
    }
}
