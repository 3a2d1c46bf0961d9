//! What a run saw: all that was published, and all that each reader got, in its order. Nothing here judges.

use std::fmt;
use std::str::FromStr;

/// Microseconds since the run began.
pub(super) type Moment = u64;

/// The place of a channel in [`Record::channels`].
pub(super) type ChannelIndex = u16;

/// How a reader is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub(super) enum Transport {
    /// A stock Socket.IO client over WebSocket.
    #[value(name = "socketio")]
    SocketIo,
    /// A stock Socket.IO client over HTTP long-polling.
    #[value(name = "socketio-polling")]
    SocketIoPolling,
    /// `/ws`.
    #[value(name = "ws")]
    WebSocket,
    /// `/sse`, read as browsers do.
    #[value(name = "sse")]
    Sse,
    /// `/poll` with `wait`.
    #[value(name = "poll")]
    LongPoll,
    /// `/poll?wait=0`.
    #[value(name = "short-poll")]
    ShortPoll,
    /// No subscriber: the pages of the server API's history, read once at the end.
    #[value(skip)]
    History,
}

impl Transport {
    /// Those that subscribe.
    pub(super) const SUBSCRIBERS: [Self; 6] = [
        Self::SocketIo,
        Self::SocketIoPolling,
        Self::WebSocket,
        Self::Sse,
        Self::LongPoll,
        Self::ShortPoll,
    ];

    /// Whether a stock client, in a process of its own, does the work.
    pub(super) fn is_stock(self) -> bool {
        matches!(self, Self::SocketIo | Self::SocketIoPolling)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SocketIo => "socketio",
            Self::SocketIoPolling => "socketio-polling",
            Self::WebSocket => "ws",
            Self::Sse => "sse",
            Self::LongPoll => "poll",
            Self::ShortPoll => "short-poll",
            Self::History => "history",
        })
    }
}

/// An id as the checker reads it, by PRODUCT's pattern and nothing looser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) epoch: [u8; 8],
    pub(super) seq: u64,
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, digits) = text.split_once('-').ok_or(())?;
        let epoch: [u8; 8] = epoch.as_bytes().try_into().map_err(|_| ())?;
        let plain = epoch
            .iter()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        let canonical = digits == "0" || !digits.starts_with('0');
        if !plain || !canonical || digits.len() > 16 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        Ok(Self {
            epoch,
            seq: digits.parse().map_err(|_| ())?,
        })
    }
}

/// Everything that a verdict is made of.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) channels: Vec<Channel>,
    pub(super) publishes: Vec<Publish>,
    pub(super) readers: Vec<Reader>,
    /// When the server was killed.
    pub(super) kills: Vec<Moment>,
    /// What the checker did, for the timeline.
    pub(super) deeds: Vec<(Moment, String)>,
    /// What is wrong and belongs to no reader: a panic of the server, a start that failed.
    pub(super) flaws: Vec<(Moment, String)>,
}

/// A channel of the run.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) name: String,
    /// Whether it has history on disk, so that nothing answered may ever be missing.
    pub(super) durable: bool,
}

/// Which content an event has: each is published under its own number once, however many attempts that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ContentId {
    pub(super) publisher: u16,
    pub(super) number: u32,
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}/{}", self.publisher, self.number)
    }
}

/// One content that was published, or tried to be.
#[derive(Debug, Clone)]
pub(super) struct Publish {
    pub(super) content: ContentId,
    pub(super) channels: Vec<ChannelIndex>,
    /// More than one only with a key, which is the same for all.
    pub(super) attempts: Vec<Attempt>,
}

/// A request to publish.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) began: Moment,
    pub(super) ended: Moment,
    pub(super) outcome: Outcome,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server gave the id.
    Answered {
        seq: u64,
        duplicate: bool,
        /// As the server API tells it.
        durability: Option<String>,
    },
    /// No answer came, or one that leaves open what happened.
    Unanswered,
}

impl Publish {
    /// Its id, if an answer told it.
    pub(super) fn answered(&self) -> Option<u64> {
        self.attempts.iter().find_map(|attempt| match attempt.outcome {
            Outcome::Answered { seq, .. } => Some(seq),
            Outcome::Unanswered => None,
        })
    }

    pub(super) fn began(&self) -> Moment {
        self.attempts.first().map_or(0, |attempt| attempt.began)
    }

    pub(super) fn ended(&self) -> Moment {
        self.attempts.last().map_or(0, |attempt| attempt.ended)
    }
}

/// What one subscriber got.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) name: String,
    pub(super) transport: Transport,
    pub(super) channels: Vec<ChannelIndex>,
    /// The cursor it began with: what comes after it in its channels is its due. `None`: it never got one.
    pub(super) from: Option<u64>,
    /// Whether it left before the end: then only what lies before its last event is its due.
    pub(super) left: bool,
    pub(super) entries: Vec<Entry>,
    /// How often it connected.
    pub(super) connects: u32,
    /// How often a Socket.IO session was restored.
    pub(super) recovered: u32,
}

impl Reader {
    /// Whether an event has reached it.
    pub(super) fn has(&self, wanted: u64) -> bool {
        let mut entries = self.entries.iter().rev();
        entries.any(|entry| matches!(entry.what, What::Event { seq, .. } if seq == wanted))
    }
}

/// Something that reached a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Moment,
    pub(super) what: What,
}

/// The note of a reader that has connected.
pub(super) const CONNECTED: &str = "connected";

/// What reached it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// An event whose content is what its publisher published.
    Event {
        seq: u64,
        content: ContentId,
        channel: ChannelIndex,
        time_ms: u64,
    },
    /// The server says that something is missing in these channels.
    Gap { channels: Vec<ChannelIndex> },
    /// Something that no server may send, in words.
    Flaw(String),
    /// It connected, lost its connection, was restored: for the timeline.
    Note(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_by_the_letter() {
        let id: Id = "k3v9x1qa-42".parse().unwrap();
        assert_eq!((&id.epoch, id.seq), (b"k3v9x1qa", 42));
        assert_eq!("k3v9x1qa-0".parse::<Id>().unwrap().seq, 0);
        for text in [
            "",
            "k3v9x1qa",
            "k3v9x1qa-",
            "k3v9x1qa-042",
            "k3v9x1qa-+4",
            "K3v9x1qa-4",
            "k3v9x1q-4",
            "k3v9x1qa-12345678901234567",
            "k3v9x1qa-4 ",
        ] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
