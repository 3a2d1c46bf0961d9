//! What outlives a connection: the channels, how far one has come, what was printed.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings::EventId;

use super::screen::{self, Screen};

/// A subscription over all its connections.
pub(super) struct Session {
    channels: Vec<String>,
    /// The last id that was given, which is where to go on.
    cursor: Option<EventId>,
    /// The last event that was printed. After a loss of power the server replays from the start.
    printed: Option<EventId>,
    screen: Screen,
    /// The connection is up.
    is_in: bool,
    has_been_in: bool,
    retry: Option<Duration>,
}

/// An event as all transports bring it; with an event stream the id stands beside it.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub(super) id: Option<String>,
    pub(super) channel: String,
    pub(super) event: String,
    pub(super) data: Box<RawValue>,
    pub(super) time: u64,
    pub(super) user: Option<String>,
}

/// What was missed for good.
#[derive(Debug, Deserialize)]
pub(super) struct Gap {
    pub(super) channels: Vec<String>,
    pub(super) next: String,
}

impl Session {
    /// A session that begins after `since`, or now.
    pub(super) fn new(channels: Vec<String>, since: Option<EventId>) -> Self {
        Self {
            channels,
            cursor: since,
            printed: None,
            screen: Screen::of_stdout(),
            is_in: false,
            has_been_in: false,
            retry: None,
        }
    }

    pub(super) fn channels(&self) -> &[String] {
        &self.channels
    }

    /// Where to go on.
    pub(super) fn since(&self) -> Option<String> {
        self.cursor.map(|id| id.to_string())
    }

    /// The server has let us in.
    pub(super) fn entered(&mut self, url: &str, how: &str) {
        if !std::mem::replace(&mut self.is_in, true) {
            self.has_been_in = true;
            screen::note(&format!("connected to {url} ({how})"));
        }
    }

    /// Whether the server has let us in.
    pub(super) fn is_in(&self) -> bool {
        self.is_in
    }

    /// The connection is gone. Answers whether it had been up.
    pub(super) fn left(&mut self) -> bool {
        std::mem::take(&mut self.is_in)
    }

    /// Whether it was ever up.
    pub(super) fn has_been_in(&self) -> bool {
        self.has_been_in
    }

    /// How long the server wants clients to stay away.
    pub(super) fn retry(&mut self) -> Option<Duration> {
        self.retry.take()
    }

    pub(super) fn set_retry(&mut self, ms: u64) {
        self.retry = Some(Duration::from_millis(ms));
    }

    /// All up to here has come.
    pub(super) fn moved(&mut self, id: &str) {
        let Ok(id) = id.parse::<EventId>() else { return };
        if !self.cursor.is_some_and(|cursor| is_past(cursor, id)) {
            self.cursor = Some(id);
        }
    }

    /// Prints an event, unless it was printed before.
    ///
    /// # Errors
    /// When it can't be printed.
    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        let id = event.id.as_deref().and_then(|id| id.parse::<EventId>().ok());
        if let Some(id) = id {
            self.cursor = Some(id);
            if self
                .printed
                .is_some_and(|printed| printed == id || is_past(printed, id))
            {
                return Ok(());
            }
            self.printed = Some(id);
        }
        self.screen.event(event)
    }

    /// Something was missed and can't be had any more. What follows comes after `next`.
    pub(super) fn gap(&mut self, gap: &Gap) {
        screen::note(&format!(
            "gap in {}: something was missed that is no longer kept",
            gap.channels.join(", ")
        ));
        if let Ok(next) = gap.next.parse() {
            self.cursor = Some(next);
        }
    }
}

/// Whether `one` comes after `other`, as far as that can be told.
fn is_past(one: EventId, other: EventId) -> bool {
    one.epoch() == other.epoch() && one.seq() > other.seq()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    impl Session {
        pub(in crate::cli::subscribe) fn to_memory(since: Option<&str>) -> (Self, Arc<Mutex<Vec<u8>>>) {
            let (screen, written) = Screen::to_memory();
            let since = since.map(|since| since.parse().unwrap());
            let session = Session {
                screen,
                ..Session::new(vec!["c".to_owned()], since)
            };
            (session, written)
        }
    }

    fn session(since: Option<&str>) -> (Session, Arc<Mutex<Vec<u8>>>) {
        Session::to_memory(since)
    }

    fn event(id: &str) -> Event {
        let json = format!(r#"{{"id":"{id}","channel":"c","event":"e","data":1,"time":2}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn ids(written: &Mutex<Vec<u8>>) -> Vec<String> {
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let id = |line: &str| serde_json::from_str::<Event>(line).unwrap().id.unwrap();
        text.lines().map(id).collect()
    }

    #[test]
    fn what_was_printed_is_not_printed_again() {
        let (mut session, written) = session(None);
        for id in ["aaaaaaaa-1", "aaaaaaaa-2"] {
            session.event(&event(id)).unwrap();
        }
        // The server lost power, and with it where we were.
        session.gap(&Gap {
            channels: vec!["c".to_owned()],
            next: "aaaaaaaa-0".to_owned(),
        });
        assert_eq!(session.since().as_deref(), Some("aaaaaaaa-0"));
        for id in ["aaaaaaaa-1", "aaaaaaaa-2", "aaaaaaaa-9", "bbbbbbbb-1"] {
            session.event(&event(id)).unwrap();
        }
        assert_eq!(ids(&written), ["aaaaaaaa-1", "aaaaaaaa-2", "aaaaaaaa-9", "bbbbbbbb-1"]);
        assert_eq!(session.since().as_deref(), Some("bbbbbbbb-1"));
    }

    #[test]
    fn a_cursor_moves_forward_alone() {
        let (mut session, written) = session(Some("aaaaaaaa-5"));
        for (id, cursor) in [
            ("aaaaaaaa-4", "aaaaaaaa-5"),
            ("aaaaaaaa-7", "aaaaaaaa-7"),
            ("nonsense", "aaaaaaaa-7"),
            ("bbbbbbbb-0", "bbbbbbbb-0"),
        ] {
            session.moved(id);
            assert_eq!(session.since().as_deref(), Some(cursor));
        }
        // A cursor that was given is none that was seen.
        session.event(&event("bbbbbbbb-1")).unwrap();
        assert_eq!(ids(&written), ["bbbbbbbb-1"]);
    }
}
