//! A client's stay, from when it was let in until it has gone: then, and once, the back end is told.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::value::RawValue;
use tidings::{ConnectionKind, Reason};

use super::Hooks;
use super::answer::Entry;
use super::payload::{Subject, Who};
use super::remembered::Key;
use crate::token::Claims;

/// One stay. Dropped, it has ended.
pub(crate) struct Visit {
    pub(super) hooks: Arc<Hooks>,
    /// What the back end knows the connection by.
    pub(super) name: Box<str>,
    pub(super) kind: Option<ConnectionKind>,
    pub(super) address: Option<IpAddr>,
    /// Stands for what it showed when it came, and where from.
    pub(super) key: Key,
    /// What its token said then.
    pub(super) claims: Option<Arc<Claims>>,
    pub(super) entry: Arc<Entry>,
    pub(super) since: Instant,
    pub(super) has_ended: AtomicBool,
}

impl Visit {
    /// What the back end knows the connection by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The channels that the back end put the client into.
    pub(crate) fn channels(&self) -> &[Arc<str>] {
        &self.entry.channels
    }

    /// What presence shows of it by the back end's word.
    pub(crate) fn info(&self) -> Option<Arc<RawValue>> {
        self.entry.info.clone()
    }

    /// The client has gone.
    pub(crate) fn end(&self, reason: Reason) {
        // A poll is no stay: its client comes again.
        if self.has_ended.swap(true, Ordering::AcqRel) || self.kind == Some(ConnectionKind::Poll) {
            return;
        }
        let subject = Subject::Disconnect {
            reason: reason.as_str(),
            lasted_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.hooks.tell_disconnect(self.who(self.claims.as_deref()), subject);
    }

    /// Who it is, by a token that may be a newer one.
    pub(super) fn who<'a>(&'a self, claims: Option<&'a Claims>) -> Who<'a> {
        Who {
            connection: Some(&self.name),
            kind: self.kind,
            claims,
            address: self.address,
        }
    }
}

impl Drop for Visit {
    /// One that was let in and then never came, or of which nobody has said how it went.
    fn drop(&mut self) {
        self.end(Reason::TransportClose);
    }
}
