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
