//! Hooks: the back end decides who comes in and who subscribes to what, answers clients' events, and is told who has gone.
//!
//! Each is a signed POST of JSON. Where the back end does not answer, what was asked is refused as `unavailable`, and never
//! allowed.

mod answer;
mod breaker;
mod call;
mod http;
mod late;
mod payload;
mod queue;
mod remembered;
mod signature;
mod telemetry;
mod visit;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use serde_json::value::RawValue;
use tidings::{Code, ConnectionKind, Error, Handshake, Result};

pub(crate) use answer::{Draft, Entry, Reply};
pub(crate) use visit::Visit;

use crate::metrics::{Page, flag, number};
use crate::rules::{OWN_CHANNEL_PREFIX, Pattern};
use crate::token::{Claims, Secret, random_hex};
use crate::url::Url;
use answer::Decision;
use call::{Call, Caller, Read};
use late::Late;
use payload::{Subject, Who};
use remembered::{Key, Remembered};

/// `[hooks]`: what is asked, and where.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where each call goes.
    pub(crate) url: Url,
    /// What signs them.
    pub(crate) secret: Secret,
    /// Whether it is asked who may come in.
    pub(crate) connect: bool,
    /// Whether it is told who has gone.
    pub(crate) disconnect: bool,
    /// For which channels it is asked who may subscribe.
    pub(crate) subscribe: Vec<Pattern>,
    /// Which of the clients' events it answers.
    pub(crate) events: Vec<Pattern>,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

/// The hooks of a server.
pub(crate) struct Hooks {
    settings: Settings,
    caller: Arc<Caller>,
    late: Arc<Late>,
    /// Who was let in to poll.
    entries: Mutex<Remembered<Arc<Entry>>>,
    /// Who may read what.
    permissions: Mutex<Remembered<()>>,
}

impl Hooks {
    /// Makes ready to call.
    ///
    /// # Errors
    /// When the file of the back end's certificates can't be read.
    pub(crate) fn start(settings: &Settings) -> Result<Arc<Self>, String> {
        let url = &settings.url;
        if !url.is_secure() {
            tracing::warn!(%url, "the hooks go over plain HTTP: whoever is on the way can read them, and change the answers");
        }
        let caller = Arc::new(Caller::new(settings)?);
        Ok(Arc::new(Self {
            settings: settings.clone(),
            late: Late::start(&caller),
            caller,
            entries: Mutex::new(Remembered::new()),
            permissions: Mutex::new(Remembered::new()),
        }))
    }

    /// Tells what is still to be told, until then at the latest.
    pub(crate) async fn end(&self, deadline: Instant) {
        let left = self.late.end(deadline).await;
        if left > 0 {
            tracing::warn!(left, "the back end could not be told of all clients that have gone");
        }
    }

    /// Adds what there is to tell of it.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.caller.telemetry.register(registry);
        registry.register_collector(Box::new(State {
            waiting: self.late.left(),
            dropped: self.late.dropped(),
            is_held_back: self.caller.is_held_back(),
        }));
    }

    /// Whether an event is the back end's to answer.
    pub(crate) fn answer_event(&self, name: &str) -> bool {
        self.settings.events.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it is asked about a channel.
    fn guard(&self, channel: &str) -> bool {
        self.settings.subscribe.iter().any(|pattern| pattern.matches(channel))
    }

    /// Lets a client in whose token is good, as far as the back end does. `before` is its stay as nobody, on the same connection.
    ///
    /// # Errors
    /// With what the back end says; `unavailable` when it does not answer.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        handshake: &Handshake,
        before: Option<&Visit>,
        claims: Option<Arc<Claims>>,
    ) -> Result<Arc<Visit>> {
        let mut visit = Visit {
            hooks: Arc::clone(self),
            name: random_hex::<16>().map_err(no_randomness)?.into(),
            kind: handshake.kind(),
            // Where it came from is no longer kept then.
            address: handshake.address().or_else(|| before?.address),
            key: key_of(handshake),
            claims,
            entry: Arc::default(),
            since: Instant::now(),
            // Nobody is told that one has gone who was not let in.
            has_ended: AtomicBool::new(true),
        };
        if self.settings.connect {
            visit.entry = self.ask_connect(&visit).await?;
        }
        visit.has_ended = AtomicBool::new(!self.settings.disconnect);
        Ok(Arc::new(visit))
    }

    async fn ask_connect(&self, visit: &Visit) -> Result<Arc<Entry>> {
        let polls = visit.kind == Some(ConnectionKind::Poll);
        if polls && let Some(entry) = self.entries.lock().find(&visit.key, Instant::now()) {
            return Ok(entry);
        }
        let who = visit.who(visit.claims.as_deref());
        let entry = self.ask(who, Subject::Connect {}, answer::connect).await?;
        let entry = Arc::new(entry.map_err(answer::Refusal::of_connect)?);
        let claims = visit.claims.as_deref();
        let is_anothers = |channel: &str| {
            channel.starts_with(OWN_CHANNEL_PREFIX) && !claims.is_some_and(|claims| claims.owns(channel))
        };
        if let Some(channel) = entry.channels.iter().find(|channel| is_anothers(channel)) {
            tracing::warn!(
                channel = &**channel,
                "the back end's answer to `connect` names another user's own channel: nobody is put into those"
            );
            return Err(unavailable());
        }
        if polls {
            self.entries.lock().add(visit.key, Arc::clone(&entry), Instant::now());
        }
        Ok(entry)
    }

    /// Whether a client may subscribe to channels that the rules allow it: all of them, or none.
    ///
    /// # Errors
    /// `forbidden` when it may not; `unavailable` when the back end does not answer.
    pub(crate) async fn may_subscribe(&self, visit: &Visit, claims: Option<&Claims>, channels: &[&str]) -> Result<()> {
        let guarded = self.guarded(visit, claims, channels);
        let remembers = visit.kind == Some(ConnectionKind::Poll);
        self.ask_subscribe(visit.who(claims), visit.key, &guarded, remembers)
            .await
    }

    /// Whether a client may see what is in a channel, and what was: who may subscribe may. The answer holds for a moment.
    ///
    /// # Errors
    /// As [`Hooks::may_subscribe`].
    pub(crate) async fn may_read(&self, visit: &Visit, claims: Option<&Claims>, channel: &str) -> Result<()> {
        let guarded = self.guarded(visit, claims, &[channel]);
        self.ask_subscribe(visit.who(claims), visit.key, &guarded, true).await
    }

    /// As [`Hooks::may_read`], for who asks the server API with a token.
    ///
    /// # Errors
    /// As [`Hooks::may_subscribe`].
    pub(crate) async fn may_read_by_api(
        &self,
        handshake: &Handshake,
        claims: Option<&Claims>,
        channel: &str,
    ) -> Result<()> {
        let is_own = claims.is_some_and(|claims| claims.owns(channel));
        let guarded = [channel];
        let guarded = if self.guard(channel) && !is_own {
            &guarded[..]
        } else {
            &[]
        };
        let who = Who {
            claims,
            address: handshake.address(),
            ..Who::default()
        };
        self.ask_subscribe(who, key_of(handshake), guarded, true).await
    }

    /// The channels that the back end has a word in: not a user's own, nor those that it has put the client into itself.
    fn guarded<'a>(&self, visit: &Visit, claims: Option<&Claims>, channels: &[&'a str]) -> Vec<&'a str> {
        let is_own = |channel: &str| claims.is_some_and(|claims| claims.owns(channel));
        let is_granted = |channel: &str| visit.channels().iter().any(|granted| **granted == *channel);
        let asked = channels.iter().copied();
        asked
            .filter(|channel| self.guard(channel) && !is_own(channel) && !is_granted(channel))
            .collect()
    }

    async fn ask_subscribe(&self, who: Who<'_>, of: Key, channels: &[&str], remembers: bool) -> Result<()> {
        if channels.is_empty() {
            return Ok(());
        }
        let key = Key::of(std::iter::once(of.bytes()).chain(channels.iter().map(|channel| channel.as_bytes())));
        if remembers && self.permissions.lock().find(&key, Instant::now()).is_some() {
            return Ok(());
        }
        let decision = self
            .ask(who, Subject::Subscribe { channels }, answer::subscribe)
            .await?;
        decision.map_err(answer::Refusal::of_subscribe)?;
        if remembers {
            self.permissions.lock().add(key, (), Instant::now());
        }
        Ok(())
    }

    /// The back end's answer to a client's event.
    ///
    /// # Errors
    /// With what the back end says; `unavailable` when it does not answer.
    pub(crate) async fn event(
        &self,
        visit: &Visit,
        claims: Option<&Claims>,
        event: &str,
        args: &[Box<RawValue>],
    ) -> Result<Reply> {
        let subject = Subject::Event {
            event,
            data: args.first().map_or(RawValue::NULL, |first| first),
            args: (args.len() > 1).then_some(args),
        };
        let reply = self.ask(visit.who(claims), subject, answer::event).await?;
        reply.map_err(answer::Refusal::of_event)
    }

    async fn ask<T: Send + 'static>(
        &self,
        who: Who<'_>,
        subject: Subject<'_>,
        read: Read<Decision<T>>,
    ) -> Result<Decision<T>> {
        let call = Call::of(who, subject).map_err(no_randomness)?;
        let answer = self.caller.call(call, read).await;
        answer.map_err(|call::NoAnswer| unavailable())
    }

    fn tell_disconnect(&self, who: Who<'_>, subject: Subject<'_>) {
        match Call::of(who, subject) {
            Ok(call) => self.late.tell(call),
            Err(error) => tracing::error!(error, "the back end can't be told that a client has gone"),
        }
    }
}

/// What the metrics tell of now.
#[derive(Debug)]
struct State {
    waiting: usize,
    dropped: u64,
    is_held_back: bool,
}

impl Collector for State {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.gauge(
            "tidings_hook_waiting",
            "Calls that the back end is still to be told",
            number(self.waiting),
        )?;
        page.gauge(
            "tidings_hook_held_back",
            "1 while the back end is not called, since it failed too often",
            flag(self.is_held_back),
        )?;
        page.counter(
            "tidings_hook_dropped",
            "Calls that the back end was never told, since too many waited",
            self.dropped,
        )
    }
}

/// Stands for what somebody shows, and where from: the back end may look at both.
fn key_of(handshake: &Handshake) -> Key {
    let token = handshake.token().unwrap_or_default();
    let address = handshake.address().as_ref().map(IpAddr::to_string).unwrap_or_default();
    Key::of([token.as_bytes(), address.as_bytes()])
}

/// What is said where the back end has said nothing that can be used.
pub(crate) fn unavailable() -> Error {
    Error::coded(Code::Unavailable, "the back end can't be asked right now; try again")
}

fn no_randomness(error: String) -> Error {
    tracing::error!(error, "the back end can't be called");
    Error::coded(Code::Internal, "internal error")
}
