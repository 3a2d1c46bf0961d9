//! Acknowledgements: the answer to a client's event, and the clients' answers to ours.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::arguments::{self, Emit};
use super::socket::SocketInner;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::shard::command::{Command, Packet};

/// The acknowledgement a client asked for, as an extractor: for handlers that answer later, or with several
/// arguments. A handler that takes it answers itself; what it returns is then not sent.
///
/// Without it a handler's return value is the answer.
#[derive(Debug)]
pub struct Ack {
    pub(crate) responder: Option<Responder>,
}

impl Ack {
    /// Whether the client waits for an answer.
    pub fn is_expected(&self) -> bool {
        self.responder.is_some()
    }

    /// Answers; does nothing when the client did not ask, or its socket is gone.
    ///
    /// # Errors
    /// When the value can't be serialised.
    pub fn send(self, answer: impl Emit) -> Result<()> {
        match self.responder {
            Some(responder) => responder.send(&answer),
            None => Ok(()),
        }
    }

    /// Answers `{ok: false, code, message}`.
    pub fn refuse(self, error: &Error) {
        if let Some(responder) = self.responder {
            responder.refuse(error);
        }
    }
}

/// Where an answer goes.
pub(crate) struct Responder {
    pub(crate) socket: Arc<SocketInner>,
    pub(crate) id: u64,
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Responder({})", self.id)
    }
}

impl Responder {
    pub(crate) fn send(self, answer: &impl Emit) -> Result<()> {
        let encoded = arguments::encode(answer)?;
        self.send_encoded(&encoded.text, encoded.attachments);
        Ok(())
    }

    pub(crate) fn refuse(self, error: &Error) {
        self.send_encoded(&error.to_ack_json(), Vec::new());
    }

    pub(crate) fn send_encoded(self, arguments: &str, attachments: Vec<Bytes>) {
        let mut bytes = Vec::with_capacity(arguments.len() + 16);
        tidings_protocol::socketio::write_ack(
            &mut bytes,
            &self.socket.namespace.path,
            self.id,
            attachments.len(),
            arguments,
        );
        self.socket.dispatch(Packet { bytes, attachments }, false);
    }
}

/// A client's answer.
#[derive(Debug, Clone)]
pub struct AckReply {
    pub(crate) arguments: Bytes,
    pub(crate) attachments: Vec<Bytes>,
}

impl AckReply {
    /// The first argument of the answer.
    ///
    /// # Errors
    /// `invalid_json` when it is of another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T> {
        arguments::first(self.arguments_json(), &self.attachments)
    }

    /// All arguments of the answer, as a tuple.
    ///
    /// # Errors
    /// `invalid_json` when they are of another shape.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T> {
        arguments::all(self.arguments_json(), &self.attachments)
    }

    /// The arguments as JSON values with commas between.
    pub fn arguments_json(&self) -> &str {
        std::str::from_utf8(&self.arguments).unwrap_or_default()
    }
}

/// Why a client's answer did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// Not within the time.
    #[error("operation has timed out")]
    Timeout,
    /// The socket ended first.
    #[error("socket has been disconnected")]
    Disconnected,
}

/// Not all clients answered a broadcast in time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("operation has timed out")]
pub struct BroadcastAckError {
    /// The answers that came.
    pub responses: Vec<AckReply>,
    /// How many clients were asked.
    pub expected: usize,
}

/// Who waits for an ack, as the shard sees it.
#[derive(Clone)]
pub(crate) enum AckSink {
    One(Arc<parking_lot::Mutex<Option<oneshot::Sender<AckReply>>>>),
    Many(mpsc::UnboundedSender<Collected>),
}

/// What a shard tells about a broadcast with acks.
pub(crate) enum Collected {
    Expect(usize),
    Reply(AckReply),
    /// A client that was asked is gone.
    Gone,
}

impl AckSink {
    pub(crate) fn expect(&self, count: usize) {
        if let AckSink::Many(sender) = self {
            let _ = sender.send(Collected::Expect(count));
        }
    }

    pub(crate) fn reply(self, reply: AckReply) {
        match self {
            AckSink::One(sender) => {
                if let Some(sender) = sender.lock().take() {
                    let _ = sender.send(reply);
                }
            }
            AckSink::Many(sender) => {
                let _ = sender.send(Collected::Reply(reply));
            }
        }
    }

    pub(crate) fn gone(self) {
        match self {
            AckSink::One(sender) => drop(sender.lock().take()),
            AckSink::Many(sender) => {
                let _ = sender.send(Collected::Gone);
            }
        }
    }
}

/// The answer of one client, once it comes.
pub(crate) struct Awaited {
    socket: Arc<SocketInner>,
    id: u64,
    receiver: oneshot::Receiver<AckReply>,
}

impl Awaited {
    pub(crate) fn send(socket: &Arc<SocketInner>, name: &str, encoded: arguments::Encoded) -> Self {
        let hub = &socket.server.hub;
        let id = hub.next_ack();
        let (sender, receiver) = oneshot::channel();
        let mut bytes = Vec::with_capacity(encoded.text.len() + name.len() + 16);
        tidings_protocol::socketio::write_event(
            &mut bytes,
            &socket.namespace.path,
            Some(id),
            encoded.attachments.len(),
            name,
            &encoded.text,
            &[],
        );
        let packet = Packet {
            bytes,
            attachments: encoded.attachments,
        };
        let sink = AckSink::One(Arc::new(parking_lot::Mutex::new(Some(sender))));
        hub.send(
            socket.key.shard,
            Command::SendWithAck {
                socket: Arc::clone(socket),
                packet,
                ack: id,
                sink,
            },
        );
        Self {
            socket: Arc::clone(socket),
            id,
            receiver,
        }
    }

    pub(crate) async fn within(self, timeout: Duration) -> Result<AckReply, AckError> {
        match tokio::time::timeout(timeout, self).await {
            Ok(reply) => reply,
            Err(_) => Err(AckError::Timeout),
        }
    }
}

impl Future for Awaited {
    type Output = Result<AckReply, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(cx)
            .map_err(|_| AckError::Disconnected)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        // Whoever gave up, or had the answer, leaves nothing behind.
        if !self.receiver.is_terminated() {
            let socket = Arc::clone(&self.socket);
            self.socket.server.hub.send(
                self.socket.key.shard,
                Command::ForgetAck {
                    ack: self.id,
                    socket: Some(socket),
                },
            );
        }
    }
}

/// Collects the answers to a broadcast.
pub(crate) async fn collect(
    hub: &Hub,
    ack: u64,
    mut receiver: mpsc::UnboundedReceiver<Collected>,
    timeout: Duration,
) -> Result<Vec<AckReply>, BroadcastAckError> {
    let mut told = 0;
    let mut expected = 0;
    let mut gone = 0;
    let mut responses = Vec::new();
    let all = async {
        while told < hub.shards.len() || responses.len() + gone < expected {
            match receiver.recv().await {
                Some(Collected::Expect(count)) => {
                    told += 1;
                    expected += count;
                }
                Some(Collected::Reply(reply)) => responses.push(reply),
                Some(Collected::Gone) => gone += 1,
                None => break,
            }
        }
    };
    let in_time = tokio::time::timeout(timeout, all).await.is_ok();
    if in_time && gone == 0 {
        return Ok(responses);
    }
    hub.send_all(|| Command::ForgetAck { ack, socket: None });
    Err(BroadcastAckError { responses, expected })
}
