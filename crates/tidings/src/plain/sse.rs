//! [`Sse`]: an event stream as the answer of an application's own route.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use super::http::{last_event_id, start_stream};
use super::stream::NewStream;
use crate::access::Grant;
use crate::error::{Error, Result};
use crate::id::EventId;
use crate::log::Since;
use crate::random::RandomId;
use crate::server::Server;
use crate::socketio::io::Io;
use crate::wire::Wire;

/// Server-sent events of some channels, as the answer of a route. From [`Io::sse`].
///
/// A client that comes back with `Last-Event-ID`, as browsers do by themselves, gets what it missed first.
///
/// ```no_run
/// # use axum::{Router, http::HeaderMap, routing::get};
/// # let io = tidings::Tidings::builder().build();
/// # fn user(_: &HeaderMap) -> String { String::new() }
/// let app: Router = Router::new().route(
///     "/api/notifications/stream",
///     get(async move |headers: HeaderMap| {
///         let user = user(&headers); // however the application knows its users
///         io.sse(&headers).channel(format!("user:{user}")).raw()
///     }),
/// );
/// ```
#[must_use = "it has to be answered"]
pub struct Sse {
    server: Arc<Server>,
    channels: Vec<Arc<str>>,
    invalid: Option<Error>,
    since: Option<Since>,
    is_named: bool,
    is_raw: bool,
}

impl Io {
    /// An event stream of channels that the application has decided the client may read.
    pub fn sse(&self, headers: &HeaderMap) -> Sse {
        let server = Arc::clone(&self.server);
        let since = last_event_id(headers)
            .filter(|id| !id.is_empty())
            .map(|id| id.parse().map_or(Since::Unknown, |id| server.hub.log.check(id)));
        Sse {
            server,
            channels: Vec::new(),
            invalid: None,
            since,
            is_named: false,
            is_raw: false,
        }
    }
}

impl Sse {
    /// Adds a channel. A name that can't be one makes the answer a 400.
    pub fn channel(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        match crate::channel::check(name) {
            Ok(()) if self.channels.iter().any(|known| **known == *name) => {}
            Ok(()) => self.channels.push(Arc::from(name)),
            Err(error) => self.invalid = Some(error),
        }
        self
    }

    /// Sends events under their own names, for `addEventListener`. Otherwise all are called `message`.
    pub fn named(mut self) -> Self {
        self.is_named = true;
        self
    }

    /// Sends the data alone, without `{channel, event, data, time, user}` around it.
    pub fn raw(mut self) -> Self {
        self.is_raw = true;
        self
    }

    /// Where a client stands that sent no `Last-Event-ID`: it gets what came after this event.
    pub fn since(mut self, id: EventId) -> Self {
        let server = &self.server;
        self.since = self.since.or_else(|| Some(server.hub.log.check(id)));
        self
    }

    fn start(self) -> Result<Response<Body>> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        self.server.note_runtime();
        let new = NewStream {
            pipe: Arc::default(),
            visitor: None,
            channels: self
                .channels
                .into_iter()
                .map(|channel| (channel, Grant::new()))
                .collect(),
            since: self.since,
            wire: Wire::sse(self.is_named, self.is_raw),
            permit: Some(self.server.hub.admit(None)?),
        };
        Ok(start_stream(&self.server, RandomId::new(), new))
    }
}

impl IntoResponse for Sse {
    fn into_response(self) -> Response {
        match self.start() {
            Err(error) if error.transient_close_code().is_some() => super::http::put_off(&error),
            outcome => outcome.unwrap_or_else(Error::into_response),
        }
    }
}
