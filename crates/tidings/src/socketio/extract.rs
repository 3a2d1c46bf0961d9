//! Extractors: what a handler's parameters are made of.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::ack::{Ack, Responder};
use super::arguments::{self, Args, Emit, Encoded, EncodedArguments};
use super::io::Io;
use super::socket::{Socket, SocketInner};
use crate::error::{Code, Error, Result};

/// An event of a client as it came: its name, and its arguments as JSON. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Event {
    name: Arc<str>,
    arguments: Bytes,
    /// None without any, which would take memory too.
    attachments: Option<Arc<[Bytes]>>,
}

impl Event {
    pub(crate) fn new(name: &str, arguments: Bytes, attachments: Vec<Bytes>) -> Self {
        Self {
            name: Arc::from(name),
            arguments,
            attachments: (!attachments.is_empty()).then(|| attachments.into()),
        }
    }

    /// The bytes it keeps in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.name.len() + self.arguments.len() + self.attachments().iter().map(Bytes::len).sum::<usize>()
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many arguments it has, the acknowledgement not counted.
    pub fn argument_count(&self) -> usize {
        tidings_protocol::socketio::count_arguments(self.arguments_json())
    }

    /// The arguments exactly as sent: JSON values with commas between. Bytes are
    /// `{"_placeholder":true,"num":n}`, the n-th of [`Event::attachments`].
    pub fn arguments_json(&self) -> &str {
        std::str::from_utf8(&self.arguments).unwrap_or_default()
    }

    /// The binary attachments.
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments.as_deref().unwrap_or_default()
    }

    /// The first argument.
    ///
    /// # Errors
    /// `invalid_json` when it is of another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        arguments::first(self.arguments_json(), self.attachments())
    }

    /// All arguments, as a tuple or a list.
    ///
    /// # Errors
    /// `invalid_json` when they are of another shape or number.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T> {
        arguments::all(self.arguments_json(), self.attachments())
    }
}

/// An event passes on as it came: `io.to("room").emit(event.name(), &event)`, `ack.send(&event)`.
impl Emit for &Event {
    fn encode(&self) -> Result<EncodedArguments> {
        Ok(EncodedArguments(Encoded {
            text: self.arguments_json().to_owned(),
            attachments: self.attachments().to_vec(),
        }))
    }
}

/// What there is to extract from: an event on its way to a handler.
#[derive(Debug)]
pub struct EventContext {
    pub(crate) socket: Arc<SocketInner>,
    pub(crate) event: Event,
    pub(crate) responder: Option<Responder>,
}

impl std::fmt::Debug for SocketInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

impl EventContext {
    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }
}

/// A parameter of an event handler: [`Socket`], [`Data`], [`Args`], [`Ack`], [`Event`], [`Io`], [`State`],
/// [`CurrentUser`], or a type of yours that implements this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a parameter of an event handler",
    label = "not an extractor",
    note = "use `Socket<User>`, `Data<T>` (the first argument), `Args<(A, B)>` (all arguments), `Ack`, `Event`, `Io`, `State<T>` or `CurrentUser<User>`",
    note = "`T` in `Data<T>` and `Args<T>` must implement `serde::Deserialize` and own its data"
)]
pub trait FromEvent: Sized {
    /// Takes the parameter out of the event.
    ///
    /// # Errors
    /// The event's acknowledgement is then this error, and the handler does not run.
    fn from_event(context: &mut EventContext) -> Result<Self>;
}

/// The first argument of an event, deserialised. `Data(message): Data<ChatMessage>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data<T>(pub T);

/// A value the server was built with: [`Builder::state`](crate::Builder::state).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State<T>(pub T);

/// What [`Io::auth`] answered for the client.
#[derive(Debug)]
pub struct CurrentUser<U>(pub Arc<U>);

impl<T: DeserializeOwned> FromEvent for Data<T> {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        context.event.data().map(Data)
    }
}

impl<T: DeserializeOwned> FromEvent for Args<T> {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        context.event.args().map(Args)
    }
}

impl<U: Send + Sync + 'static> FromEvent for Socket<U> {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        Socket::of(&context.socket).ok_or_else(|| wrong_user::<U>(&context.socket))
    }
}

impl FromEvent for Ack {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        Ok(Ack {
            responder: context.responder.take(),
        })
    }
}

impl FromEvent for Event {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        Ok(context.event.clone())
    }
}

impl FromEvent for Io {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        Ok(Io::of_namespace(&context.socket.server, &context.socket.namespace))
    }
}

impl<T: Clone + Send + Sync + 'static> FromEvent for State<T> {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        context.socket.server.state::<T>().map(State).ok_or_else(|| {
            tracing::error!(
                r#type = std::any::type_name::<T>(),
                "a handler extracts a state that Builder::state was not given"
            );
            Error::coded(Code::Internal, "internal error")
        })
    }
}

impl<U: Send + Sync + 'static> FromEvent for CurrentUser<U> {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        let user = Arc::clone(&context.socket.user).downcast();
        user.map(CurrentUser).map_err(|_| wrong_user::<U>(&context.socket))
    }
}

/// A handler asks for another type of user than `auth` gives: a mistake in the application.
pub(crate) fn wrong_user<U>(socket: &SocketInner) -> Error {
    tracing::error!(
        namespace = &*socket.namespace.path,
        asked_for = std::any::type_name::<U>(),
        "a handler takes a Socket whose user is of another type than what `auth` answers for this namespace"
    );
    Error::coded(Code::Internal, "internal error")
}
