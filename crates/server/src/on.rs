//! `[[on]]`: what a client's event does, without a back end.

use crate::template::Template;

/// The events that the server answers itself.
pub(crate) const OWN_EVENTS: [&str; 8] = [
    "subscribe",
    "unsubscribe",
    "publish",
    "history",
    "presence",
    "auth",
    "read",
    "unread",
];

/// One `[[on]]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct On {
    /// The event that a client emits, and under which it is published.
    pub(crate) event: String,
    /// The channel it is published to.
    pub(crate) to: Template,
    /// What makes one that is tried again the same one.
    pub(crate) key: Option<Template>,
    /// Whether it may be lost, and is not kept.
    pub(crate) volatile: bool,
}

impl On {
    /// Whether a place of it is filled with the data.
    pub(crate) fn needs_data(&self) -> bool {
        self.to.needs_data() || self.key.as_ref().is_some_and(Template::needs_data)
    }
}
