//! History: pages of what a channel retains, forward and backward.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use tidings_protocol::json;

use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::event::Event;
use crate::id::EventId;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS, HISTORY_EVENTS_MAX};
use crate::log::{self, PageLimit, Since};
use crate::server::Server;

/// A page of what a channel retains.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The events, oldest first.
    pub events: Vec<Published>,
    /// There is more in the direction that was asked for.
    pub more: bool,
}

/// An event as clients without Socket.IO see it.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Published {
    /// Its place in the log.
    pub id: EventId,
    /// Its channel.
    pub channel: Arc<str>,
    /// Its name.
    pub event: Arc<str>,
    /// What it says; bytes in it are `{"$bytes":"<base64>"}`.
    pub data: Box<RawValue>,
    /// Unix milliseconds.
    pub time: u64,
    /// The publisher, where a user published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
}

/// A request for history; from [`Io::history`](crate::Io::history). Awaited, it answers a page.
#[derive(Clone)]
#[must_use = "nothing is read until this is awaited"]
pub struct HistoryQuery {
    server: Arc<Server>,
    channel: Result<Channel, String>,
    before: Option<EventId>,
    after: Option<EventId>,
    limit: usize,
}

impl HistoryQuery {
    pub(crate) fn new(server: Arc<Server>, channel: Result<Channel>) -> Self {
        Self {
            server,
            channel: channel.map_err(|error| error.message().to_owned()),
            before: None,
            after: None,
            limit: HISTORY_EVENTS,
        }
    }

    /// The newest events before this one.
    pub fn before(mut self, id: EventId) -> Self {
        self.before = Some(id);
        self
    }

    /// The oldest events after this one.
    pub fn after(mut self, id: EventId) -> Self {
        self.after = Some(id);
        self
    }

    /// How many events at the most: 1 to 1,000. Default 50. A page has about 1 MB at the most.
    pub fn limit(mut self, events: usize) -> Self {
        self.limit = events.clamp(1, HISTORY_EVENTS_MAX);
        self
    }
}

impl IntoFuture for HistoryQuery {
    type Output = Result<HistoryPage>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let channel = self
                .channel
                .map_err(|problem| Error::coded(Code::InvalidChannel, problem))?;
            let from = from(&self.server, self.before, self.after)?;
            let limit = PageLimit {
                events: self.limit,
                bytes: HISTORY_BYTES_MAX,
            };
            HistoryPage::read(&self.server, channel, from, limit).await
        })
    }
}

impl HistoryPage {
    pub(crate) async fn read(
        server: &Arc<Server>,
        channel: Channel,
        from: log::From,
        limit: PageLimit,
    ) -> Result<Self> {
        let hub = &server.hub;
        let name: Arc<str> = Arc::from(channel.shown());
        let history = hub.read(move |log| log.history(&channel, from, limit)).await?;
        let events = history.events.iter().map(|event| Published::new(server, &name, event));
        Ok(Self {
            events: events.collect::<Result<_>>()?,
            more: history.more,
        })
    }
}

impl Published {
    pub(crate) fn new(server: &Server, channel: &Arc<str>, event: &Event) -> Result<Self> {
        let message = &event.draft.message;
        let data = json::data_from_arguments(message.arguments(), &message.attachments);
        Ok(Self {
            id: server.hub.id(event.seq),
            channel: Arc::clone(channel),
            event: Arc::clone(&message.name),
            data: RawValue::from_string(data.into_owned())?,
            time: event.time_ms,
            user: event.draft.user.clone(),
        })
    }
}

/// Where a page begins.
pub(crate) fn from(server: &Server, before: Option<EventId>, after: Option<EventId>) -> Result<log::From> {
    let seq = |id: EventId| match server.hub.log.check(id) {
        Since::Known(seq) => Ok(seq),
        Since::Unknown => Err(Error::coded(
            Code::InvalidId,
            "this id is not of this log, or not yet given: begin without one",
        )),
    };
    match (before, after) {
        (None, None) => Ok(log::From::Newest),
        (Some(before), None) => Ok(log::From::Before(seq(before)?)),
        (None, Some(after)) => Ok(log::From::After(seq(after)?)),
        (Some(_), Some(_)) => Err(Error::new("`before` and `after` exclude each other")),
    }
}

/// How much a page may hold, by a client's `limit`.
pub(crate) fn page_limit(limit: Option<u64>) -> Result<PageLimit> {
    let events = match limit {
        None => HISTORY_EVENTS,
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=HISTORY_EVENTS_MAX).contains(limit))
            .ok_or_else(|| Error::new(format!("`limit` is 1 to {HISTORY_EVENTS_MAX}")))?,
    };
    Ok(PageLimit {
        events,
        bytes: HISTORY_BYTES_MAX,
    })
}
