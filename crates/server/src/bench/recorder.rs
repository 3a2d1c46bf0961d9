//! Writes the record while the run goes on, shared by all who publish and read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::content::{EVENT, identify};
use super::record::{
    CONNECTED, Channel, ChannelIndex, ContentId, Entry, Id, Moment, Publish, Reader, Record, Transport, What,
};

/// The record of a run that goes on.
pub(super) struct Recorder {
    began: Instant,
    pub(super) channels: Vec<Channel>,
    /// The `user` that events of each publisher carry: the `sub` of a client, none of the server API.
    pub(super) users: Vec<Option<String>>,
    /// All ids are of one epoch: the server's store outlives the server.
    epoch: OnceLock<[u8; 8]>,
    publishes: Mutex<Vec<Publish>>,
    kills: Mutex<Vec<Moment>>,
    deeds: Mutex<Vec<(Moment, String)>>,
    flaws: Mutex<Vec<(Moment, String)>>,
    pub(super) delivered: AtomicU64,
    /// Whether something is wrong already, as far as one entry can tell.
    alarm: AtomicBool,
}

impl Recorder {
    pub(super) fn new(channels: Vec<Channel>, users: Vec<Option<String>>) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            channels,
            users,
            epoch: OnceLock::new(),
            publishes: Mutex::default(),
            kills: Mutex::default(),
            deeds: Mutex::default(),
            flaws: Mutex::default(),
            delivered: AtomicU64::new(0),
            alarm: AtomicBool::new(false),
        })
    }

    /// Microseconds since the run began.
    pub(super) fn now(&self) -> Moment {
        self.began.elapsed().as_micros().try_into().unwrap_or(Moment::MAX)
    }

    pub(super) fn alarmed(&self) -> bool {
        self.alarm.load(Ordering::Relaxed)
    }

    /// The server was killed and is gone.
    pub(super) fn killed(&self) {
        self.kills.lock().push(self.now());
    }

    pub(super) fn kills(&self) -> usize {
        self.kills.lock().len()
    }

    pub(super) fn published(&self, publish: Publish) {
        self.publishes.lock().push(publish);
    }

    pub(super) fn publishes(&self) -> usize {
        self.publishes.lock().len()
    }

    /// What the checker did.
    pub(super) fn deed(&self, text: impl Into<String>) {
        self.deeds.lock().push((self.now(), text.into()));
    }

    /// What is wrong and belongs to no reader.
    pub(super) fn flaw(&self, text: impl Into<String>) {
        self.alarm.store(true, Ordering::Relaxed);
        self.flaws.lock().push((self.now(), text.into()));
    }

    pub(super) fn channel(&self, name: &str) -> Option<ChannelIndex> {
        let index = self.channels.iter().position(|channel| channel.name == name)?;
        index.try_into().ok()
    }

    pub(super) fn name(&self, channel: ChannelIndex) -> &str {
        &self.channels[usize::from(channel)].name
    }

    /// The id before the first, once any id was seen.
    pub(super) fn start(&self) -> Option<String> {
        let epoch = self.epoch.get()?;
        Some(format!("{}-0", String::from_utf8_lossy(epoch)))
    }

    /// Reads an id of this run's one epoch.
    ///
    /// # Errors
    /// What is the matter with it.
    pub(super) fn seq(&self, text: &str) -> Result<u64, String> {
        let id: Id = text.parse().map_err(|()| format!("{text:?} is no id"))?;
        if *self.epoch.get_or_init(|| id.epoch) == id.epoch {
            Ok(id.seq)
        } else {
            Err(format!("{text} is of another epoch"))
        }
    }

    /// A new reader; it writes through what this returns.
    pub(super) fn reader(
        self: &Arc<Self>,
        name: String,
        transport: Transport,
        channels: Vec<ChannelIndex>,
    ) -> Arc<Book> {
        let reader = Reader {
            name,
            transport,
            channels,
            from: None,
            left: false,
            entries: Vec::new(),
            connects: 0,
            recovered: 0,
        };
        let page = Page {
            reader,
            cursor: None,
            highest: 0,
        };
        Arc::new(Book {
            recorder: Arc::clone(self),
            page: Mutex::new(page),
        })
    }

    /// Closes the record.
    pub(super) fn record(&self, books: &[Arc<Book>]) -> Record {
        Record {
            channels: self.channels.clone(),
            publishes: self.publishes.lock().clone(),
            readers: books.iter().map(|book| book.page.lock().reader.clone()).collect(),
            kills: self.kills.lock().clone(),
            deeds: self.deeds.lock().clone(),
            flaws: self.flaws.lock().clone(),
        }
    }
}

/// What one reader gets, and where it stands.
pub(super) struct Book {
    recorder: Arc<Recorder>,
    page: Mutex<Page>,
}

struct Page {
    reader: Reader,
    /// The last id that it got, as it would give it when it comes back.
    cursor: Option<String>,
    highest: u64,
}

/// An event as all transports but Socket.IO give it. Fields that PRODUCT doesn't name are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireEvent {
    /// Absent in SSE's `data`, where it is the id of the message.
    pub(super) id: Option<String>,
    pub(super) channel: String,
    pub(super) event: String,
    pub(super) data: Value,
    pub(super) time: u64,
    pub(super) user: Option<String>,
}

/// A gap as all transports give it.
#[derive(Debug, Deserialize)]
pub(super) struct WireGap {
    pub(super) channels: Vec<String>,
    pub(super) next: String,
}

impl Book {
    pub(super) fn name(&self) -> String {
        self.page.lock().reader.name.clone()
    }

    pub(super) fn transport(&self) -> Transport {
        self.page.lock().reader.transport
    }

    /// The names of its channels.
    pub(super) fn channels(&self) -> Vec<String> {
        let page = self.page.lock();
        let names = page.reader.channels.iter().map(|channel| self.recorder.name(*channel));
        names.map(str::to_owned).collect()
    }

    /// Where it would go on.
    pub(super) fn cursor(&self) -> Option<String> {
        self.page.lock().cursor.clone()
    }

    /// Whether it has begun: it has a cursor.
    pub(super) fn has_begun(&self) -> bool {
        self.page.lock().reader.from.is_some()
    }

    /// Whether it got such a content of each of these publishes.
    pub(super) fn has_all(&self, contents: &[(ChannelIndex, ContentId)]) -> bool {
        let page = self.page.lock();
        // They are among the last; looking from the end finds them soon.
        contents
            .iter()
            .filter(|(channel, _)| page.reader.channels.contains(channel))
            .all(|(_, wanted)| {
                let is = |entry: &Entry| matches!(entry.what, What::Event { content, .. } if content == *wanted);
                page.reader.entries.iter().rev().take(5_000).any(is)
            })
    }

    /// It connected, or a request of it succeeded after others had failed.
    pub(super) fn connected(&self) {
        self.page.lock().reader.connects += 1;
        self.note(CONNECTED);
    }

    pub(super) fn recovered(&self) {
        self.page.lock().reader.recovered += 1;
        self.note("recovered");
    }

    pub(super) fn left(&self) {
        self.page.lock().reader.left = true;
    }

    pub(super) fn note(&self, text: &'static str) {
        self.push(What::Note(text));
    }

    /// It was given something that no server may give.
    pub(super) fn flaw(&self, text: impl Into<String>) {
        self.recorder.alarm.store(true, Ordering::Relaxed);
        self.push(What::Flaw(text.into()));
    }

    /// The server told where it stands: a `cursor`, a `next`, a bare `id:`.
    pub(super) fn moved(&self, id: &str) {
        match self.recorder.seq(id) {
            Ok(seq) => {
                let mut page = self.page.lock();
                page.reader.from.get_or_insert(seq);
                page.cursor = Some(id.to_owned());
            }
            Err(problem) => self.flaw(format!("cursor: {problem}")),
        }
    }

    /// Whether a cursor that the server tells is one that it has got already, or where it was.
    ///
    /// # Errors
    /// That it is past that: coming back with it would lose what lies between.
    pub(super) fn is_not_past(&self, id: &str) -> Result<(), String> {
        let seq = self.recorder.seq(id)?;
        let here = self.cursor().map_or(Ok(0), |cursor| self.recorder.seq(&cursor))?;
        match seq <= here {
            true => Ok(()),
            false => Err(format!("told the cursor {id} where it has seq {here}")),
        }
    }

    /// Whether a `next` is at or after what came with it.
    ///
    /// # Errors
    /// That it is before: coming back with it would repeat what came.
    pub(super) fn is_not_before(&self, id: &str) -> Result<(), String> {
        let seq = self.recorder.seq(id)?;
        let here = self.cursor().map_or(Ok(0), |cursor| self.recorder.seq(&cursor))?;
        match seq >= here {
            true => Ok(()),
            false => Err(format!("told next {id} where it has seq {here}")),
        }
    }

    /// An event came; its id moves the cursor.
    pub(super) fn event(&self, id: &str, event: &WireEvent) {
        match self.read(id, event) {
            Ok((seq, what)) => {
                let mut page = self.page.lock();
                // What comes again has its place already.
                if seq < page.highest && !page.reader.has(seq) {
                    self.recorder.alarm.store(true, Ordering::Relaxed);
                }
                page.highest = page.highest.max(seq);
                page.cursor = Some(id.to_owned());
                self.recorder.delivered.fetch_add(1, Ordering::Relaxed);
                let at = self.recorder.now();
                page.reader.entries.push(Entry { at, what });
            }
            Err(problem) => self.flaw(format!("event {id}: {problem}")),
        }
    }

    fn read(&self, id: &str, event: &WireEvent) -> Result<(u64, What), String> {
        let recorder = &self.recorder;
        let seq = recorder.seq(id)?;
        let content = identify(&event.data)?;
        if event.event != EVENT {
            return Err(format!("its name is {:?}", event.event));
        }
        let channel = recorder
            .channel(&event.channel)
            .ok_or_else(|| format!("of channel {:?}", event.channel))?;
        let user = recorder.users.get(usize::from(content.publisher));
        if user.is_some_and(|user| *user != event.user) {
            return Err(format!("its user is {:?} and should be {user:?}", event.user));
        }
        let what = What::Event {
            seq,
            content,
            channel,
            time_ms: event.time,
        };
        Ok((seq, what))
    }

    /// A gap came; its `next` is where the replay begins.
    pub(super) fn gap(&self, gap: &WireGap) {
        let mut channels = Vec::new();
        for name in &gap.channels {
            match self.recorder.channel(name) {
                Some(channel) => channels.push(channel),
                None => self.flaw(format!("a gap in {name:?}")),
            }
        }
        if channels
            .iter()
            .any(|channel| self.recorder.channels[usize::from(*channel)].durable)
        {
            self.recorder.alarm.store(true, Ordering::Relaxed);
        }
        self.push(What::Gap { channels });
        self.moved(&gap.next);
    }

    fn push(&self, what: What) {
        let at = self.recorder.now();
        self.page.lock().reader.entries.push(Entry { at, what });
    }
}
