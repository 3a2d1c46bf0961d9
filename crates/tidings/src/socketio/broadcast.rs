//! Broadcast: an event, or an action, for a set of sockets.

use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::ack::{AckReply, AckSink, BroadcastAckError, collect};
use super::arguments::{self, Emit};
use super::namespace::{Behaviour, Namespace};
use super::socket::Socket;
use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::event::{self, Draft, Event, Message, PublishKey};
use crate::id::EventId;
use crate::log::{Appending, Receipt};
use crate::server::Server;
use crate::shard::command::{Action, BroadcastKind, Command, Selection};

/// What [`Io::emit`](super::io::Io::emit) and its sisters answer. It needs no await: the event is on its way. Awaited, it
/// gives the event's id once it is kept, none for what is not logged. An error is logged where it is dropped instead.
#[derive(Debug)]
pub struct Emitted {
    outcome: Result<Option<Appending>>,
}

impl Emitted {
    pub(crate) fn new(outcome: Result<Option<Appending>>) -> Self {
        Self { outcome }
    }

    /// The answer to a receipt, to be asked again.
    pub(crate) fn answered(receipt: Result<Option<Receipt>>) -> Self {
        let outcome = receipt.map(|receipt| receipt.map(|receipt| Appending::Done(Ok(receipt))));
        Self { outcome }
    }

    /// The receipt, where it is there.
    pub(crate) fn try_receipt(&mut self) -> Option<Result<Option<Receipt>>> {
        match &mut self.outcome {
            Ok(Some(appending)) => {
                let receipt = appending.try_take()?;
                self.outcome = Ok(None);
                Some(receipt.map(Some))
            }
            outcome => Some(std::mem::replace(outcome, Ok(None)).map(|_| None)),
        }
    }

    fn take(mut self) -> Result<Option<Appending>> {
        std::mem::replace(&mut self.outcome, Ok(None))
    }

    /// Waits until the event is kept: its id, whether it had been published before under its key, and what it survives; none for
    /// what is not logged.
    ///
    /// # Errors
    /// When it can't be emitted; `key_conflict` when its key was used for other content; `store_full` or `unavailable` when it
    /// can't be kept.
    pub async fn receipt(self) -> Result<Option<Receipt>> {
        match self.take()? {
            Some(appending) => appending.await.map(Some),
            None => Ok(None),
        }
    }
}

/// An error that nobody asks for is not lost without a word.
impl Drop for Emitted {
    fn drop(&mut self) {
        if let Err(error) | Ok(Some(Appending::Done(Err(error)))) = &self.outcome {
            tracing::warn!(%error, "an event can't be emitted");
        }
    }
}

impl IntoFuture for Emitted {
    type Output = Result<Option<EventId>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.receipt().await?.map(|receipt| receipt.id)) })
    }
}

/// What an action on a set of sockets answers. It needs no await; awaited, the action has been carried out.
#[derive(Debug)]
pub struct Applied {
    /// Nothing is sent: it ends when each shard has dropped its sender.
    all_done: mpsc::UnboundedReceiver<()>,
}

impl IntoFuture for Applied {
    type Output = ();
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let _ = self.all_done.recv().await;
        })
    }
}

/// Which namespaces a broadcast is about.
#[derive(Clone)]
pub(crate) enum Target {
    Namespace(Arc<Namespace>),
    /// All namespaces of a pattern.
    Pattern(Arc<Behaviour>),
}

/// A set of sockets to send to or to act on: `io.to("a").to("b").except("c")`. Each socket is reached once, in however many of
/// the rooms it is.
#[derive(Clone)]
#[must_use = "a broadcast does nothing until something is emitted to it"]
pub struct Broadcast {
    server: Arc<Server>,
    target: Target,
    rooms: SmallVec<[Box<str>; 1]>,
    except: SmallVec<[Box<str>; 1]>,
    without: Option<Channel>,
    is_volatile: bool,
    timeout: Duration,
    user: Option<Arc<str>>,
    key: Option<Arc<str>>,
}

impl Broadcast {
    pub(crate) fn new(server: &Arc<Server>, target: Target) -> Self {
        Self {
            timeout: server.config.ack_timeout,
            server: Arc::clone(server),
            target,
            rooms: SmallVec::new(),
            except: SmallVec::new(),
            without: None,
            is_volatile: false,
            user: None,
            key: None,
        }
    }

    pub(crate) fn without(mut self, own: Channel) -> Self {
        self.without = Some(own);
        self
    }

    /// And the sockets in this room.
    pub fn to(mut self, room: impl AsRef<str>) -> Self {
        self.rooms.push(room.as_ref().into());
        self
    }

    /// As [`Broadcast::to`]; Node's `in` is a keyword in Rust.
    pub fn within(self, room: impl AsRef<str>) -> Self {
        self.to(room)
    }

    /// But not the sockets in this room.
    pub fn except(mut self, room: impl AsRef<str>) -> Self {
        self.except.push(room.as_ref().into());
        self
    }

    /// Only to clients of this process. There are no others yet: what is emitted is the same without it.
    pub fn local(self) -> Self {
        self
    }

    /// Only to clients that can take it right now; it is not logged.
    pub fn volatile(mut self) -> Self {
        self.is_volatile = true;
        self
    }

    /// How long to wait for acknowledgements.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The user whose event it is: `user` in what clients see, where the server adds that.
    pub fn publisher(mut self, user: impl Into<Arc<str>>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Makes the publish one that can be tried again: within five minutes at least, the same publisher's same event under the
    /// same key in the same rooms is kept and delivered once. The same key for another event, or for other rooms of which one is the
    /// same, is an error (`key_conflict`), and so is a key for a volatile event (`bad_request`).
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Whether [`emit`](Broadcast::emit) would take an event, as far as that can be known before: its name, its arguments, its
    /// key and what the pacing of the channels asks for. Whether its key was used for other content, and whether there is room,
    /// is known once it is emitted.
    ///
    /// # Errors
    /// As awaiting what `emit` answers.
    pub fn check(&self, name: &str, arguments: &impl Emit) -> Result<()> {
        event::check_name(name)?;
        let drafts = self.drafts(name, arguments::encode(arguments)?)?;
        match &self.server.pacer {
            Some(pacer) => drafts.iter().try_for_each(|draft| pacer.check(draft)),
            None => Ok(()),
        }
    }

    /// Emits an event. Awaiting the answer is not needed.
    pub fn emit(&self, name: &str, arguments: impl Emit) -> Emitted {
        Emitted::new(event::check_name(name).and_then(|()| self.try_emit(name, &arguments)))
    }

    /// Emits an event to all, under a name that only servers use, without logging it.
    pub(crate) fn emit_unlogged(&self, name: &str, arguments: impl Emit) {
        match arguments::encode(&arguments).and_then(|encoded| self.drafts(name, encoded)) {
            Ok(drafts) => drafts
                .into_iter()
                .for_each(|draft| self.send_unlogged(draft, &BroadcastKind::Plain)),
            Err(error) => tracing::warn!(%error, "an event can't be emitted"),
        }
    }

    fn try_emit(&self, name: &str, arguments: &impl Emit) -> Result<Option<Appending>> {
        let encoded = arguments::encode(arguments)?;
        self.try_emit_encoded(name, encoded)
    }

    /// Emits arguments that are encoded already: comma-separated JSON values, passed on as they are.
    pub(crate) fn try_emit_encoded(&self, name: &str, encoded: arguments::Encoded) -> Result<Option<Appending>> {
        if self.is_volatile && self.key.is_some() {
            return Err(Error::coded(
                Code::BadRequest,
                "a volatile event is not kept, so it has no use for a key; leave out one of the two",
            ));
        }
        let hub = &self.server.hub;
        let mut last = None;
        for draft in self.drafts(name, encoded)? {
            if let Some(pacer) = &self.server.pacer {
                last = pacer.publish(hub, draft, self.is_volatile)?.or(last);
            } else if self.is_volatile {
                self.send_unlogged(draft, &BroadcastKind::Volatile);
            } else {
                last = Some(hub.publish(draft));
            }
        }
        Ok(last)
    }

    fn send_unlogged(&self, draft: Draft, kind: &BroadcastKind) {
        let event = Arc::new(Event::unlogged(draft));
        self.server.hub.send_all(|| Command::Broadcast {
            event: Arc::clone(&event),
            kind: kind.clone(),
        });
    }

    /// Emits an event and collects the clients' acknowledgements.
    ///
    /// # Errors
    /// When not all came in time: those that did are in the error.
    pub async fn emit_with_ack(&self, name: &str, arguments: impl Emit) -> Result<Vec<AckReply>, BroadcastAckError> {
        let none = BroadcastAckError {
            responses: Vec::new(),
            expected: 0,
        };
        let prepared = event::check_name(name)
            .and_then(|()| arguments::encode(&arguments))
            .and_then(|encoded| self.drafts(name, encoded));
        let drafts = match prepared {
            Ok(drafts) => drafts,
            Err(error) => {
                tracing::warn!(%error, "an event can't be emitted");
                return Err(none);
            }
        };
        let hub = &self.server.hub;
        let mut responses = Vec::new();
        for draft in drafts {
            let ack = hub.next_ack();
            let (sender, receiver) = mpsc::unbounded_channel();
            self.send_unlogged(
                draft,
                &BroadcastKind::WithAck {
                    ack,
                    sink: AckSink::Many(sender),
                },
            );
            match collect(hub, ack, receiver, self.timeout).await {
                Ok(replies) => responses.extend(replies),
                Err(mut error) => {
                    responses.append(&mut error.responses);
                    return Err(BroadcastAckError {
                        responses,
                        expected: error.expected,
                    });
                }
            }
        }
        Ok(responses)
    }

    /// The sockets of the set whose user is a `U`.
    pub async fn sockets<U: Send + Sync + 'static>(&self) -> Vec<Socket<U>> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        for selection in self.selections() {
            self.server.hub.send_all(|| Command::Select {
                selection: Arc::clone(&selection),
                reply: sender.clone(),
            });
        }
        drop(sender);
        let mut sockets = Vec::new();
        while let Some(found) = receiver.recv().await {
            sockets.extend(found.iter().filter_map(Socket::of));
        }
        sockets
    }

    /// Puts all sockets of the set into a room. What is emitted from now on finds them there; awaited, also their
    /// [`rooms`](Socket::rooms) tell so.
    pub fn join(&self, room: impl AsRef<str>) -> Applied {
        self.change_rooms(room.as_ref(), Action::Join)
    }

    /// Takes all sockets of the set out of a room. As [`Broadcast::join`], it needs no await.
    pub fn leave(&self, room: impl AsRef<str>) -> Applied {
        self.change_rooms(room.as_ref(), Action::Leave)
    }

    fn change_rooms(&self, room: &str, action: impl Fn(Arc<[Channel]>) -> Action) -> Applied {
        self.apply(|namespace| match Channel::room(&namespace.path, room) {
            Ok(channel) => Some(action(Arc::from([channel]))),
            Err(error) => {
                tracing::warn!(%error, "sockets can't be in a room of this name");
                None
            }
        })
    }

    /// Ends all sockets of the set, and with `close` their connections. It needs no await.
    pub fn disconnect(&self, close: bool) -> Applied {
        self.apply(|_| Some(Action::Disconnect { close }))
    }

    fn apply(&self, action: impl Fn(&Namespace) -> Option<Action>) -> Applied {
        let (done, all_done) = mpsc::unbounded_channel();
        for namespace in self.namespaces() {
            let Some(action) = action(&namespace) else { continue };
            let selection = Arc::new(self.selection_in(&namespace));
            if let Some(sessions) = &self.server.sessions {
                sessions.apply(&selection, &action);
            }
            self.server.hub.send_all(|| Command::Apply {
                selection: Arc::clone(&selection),
                action: action.clone(),
                done: done.clone(),
            });
        }
        Applied { all_done }
    }

    pub(crate) fn namespaces(&self) -> Vec<Arc<Namespace>> {
        match &self.target {
            Target::Namespace(namespace) => vec![Arc::clone(namespace)],
            Target::Pattern(behaviour) => behaviour.children(),
        }
    }

    fn selections(&self) -> Vec<Arc<Selection>> {
        self.namespaces()
            .iter()
            .map(|namespace| Arc::new(self.selection_in(namespace)))
            .collect()
    }

    /// Rooms whose names can't be rooms' have nobody in them.
    fn selection_in(&self, namespace: &Namespace) -> Selection {
        let channels = |rooms: &[Box<str>]| {
            rooms
                .iter()
                .filter_map(|room| Channel::room(&namespace.path, room).ok())
                .collect()
        };
        let mut except: SmallVec<[Channel; 1]> = channels(&self.except);
        except.extend(self.without.clone());
        let channels = if self.rooms.is_empty() {
            SmallVec::from_elem(Channel::everyone(&namespace.path), 1)
        } else {
            channels(&self.rooms)
        };
        Selection { channels, except }
    }

    /// One draft for each namespace. An error when a room's name can't be one.
    fn drafts(&self, name: &str, encoded: arguments::Encoded) -> Result<Vec<Draft>> {
        for room in self.rooms.iter().chain(&self.except) {
            crate::channel::check(room)?;
        }
        if let Some(key) = &self.key {
            event::check_key(key)?;
        }
        let message = Message {
            name: Arc::from(name),
            arguments: encoded.text.into(),
            attachments: encoded.attachments,
        };
        let drafts = self.namespaces().into_iter().map(|namespace| {
            let Selection { channels, except } = self.selection_in(&namespace);
            Draft {
                channels,
                except,
                message: message.clone(),
                user: self.user.clone(),
                key: self.key.as_ref().map(|key| PublishKey {
                    publisher: self.user.clone().unwrap_or_default(),
                    key: Arc::clone(key),
                }),
            }
        });
        Ok(drafts.collect())
    }
}
