//! `OP`: an emit that a test describes, done from a socket or from outside any handler.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings::{AckReply, Args, Broadcast, Io, Socket};

use crate::payload::Arguments;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum From {
    Socket,
    Io,
}

#[derive(Deserialize)]
pub(crate) struct Op {
    pub(crate) from: Option<From>,
    /// Only where it comes over HTTP.
    pub(crate) nsp: Option<String>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    broadcast: bool,
    #[serde(default)]
    volatile: bool,
    #[serde(default)]
    local: bool,
    timeout: Option<u64>,
    event: String,
    #[serde(default)]
    args: Vec<Value>,
}

impl Op {
    /// Whether only the socket itself is meant.
    fn is_for_one(&self) -> bool {
        self.to.is_empty() && self.except.is_empty() && !self.broadcast && !self.local
    }

    fn narrow(&self, mut set: Broadcast) -> Broadcast {
        for room in &self.to {
            set = set.to(room);
        }
        for room in &self.except {
            set = set.except(room);
        }
        if self.volatile {
            set = set.volatile();
        }
        if self.local {
            set = set.local();
        }
        set
    }

    fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_millis)
    }

    /// The arguments, with the attachments of the event that carried the op.
    fn arguments<'a>(&'a self, attachments: &'a [Bytes]) -> Args<Arguments<'a>> {
        Args(Arguments {
            values: &self.args,
            attachments,
        })
    }
}

/// Performs an op from a socket's handler.
pub(crate) async fn from_socket<U: Send + Sync + 'static>(socket: &Socket<U>, op: &Op, attachments: &[Bytes]) -> Value {
    if !op.is_for_one() {
        return to_set(op.narrow(socket.broadcast()), op, attachments).await;
    }
    let arguments = op.arguments(attachments);
    match op.timeout() {
        None if op.volatile => drop(socket.emit_volatile(&op.event, arguments)),
        None => drop(socket.emit(&op.event, arguments)),
        Some(timeout) => {
            return match socket.timeout(timeout).emit_with_ack(&op.event, arguments).await {
                Ok(reply) => answered(&[reply]),
                Err(error) => unanswered(&error, &[]),
            };
        }
    }
    json!({ "done": true })
}

/// Performs an op from outside.
pub(crate) async fn from_io(io: &Io, op: &Op, attachments: &[Bytes]) -> Value {
    to_set(op.narrow(io.everyone()), op, attachments).await
}

async fn to_set(set: Broadcast, op: &Op, attachments: &[Bytes]) -> Value {
    let arguments = op.arguments(attachments);
    let Some(timeout) = op.timeout() else {
        set.emit(&op.event, arguments);
        return json!({ "done": true });
    };
    match set.timeout(timeout).emit_with_ack(&op.event, arguments).await {
        Ok(replies) => answered(&replies),
        Err(error) => unanswered(&error, &error.responses),
    }
}

fn answered(replies: &[AckReply]) -> Value {
    json!({ "ok": true, "responses": first_arguments(replies) })
}

fn unanswered(error: &impl std::fmt::Display, replies: &[AckReply]) -> Value {
    json!({ "ok": false, "message": error.to_string(), "responses": first_arguments(replies) })
}

fn first_arguments(replies: &[AckReply]) -> Vec<Value> {
    replies
        .iter()
        .map(|reply| {
            reply
                .data()
                .unwrap_or_else(|error| json!({ "unreadable": error.message() }))
        })
        .collect()
}
