//! The events of the contract. Each is registered on a socket by its name; `rooms` in an answer are in any order.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidings::{Ack, Data, Event, Handshake, Io, Result, Socket, State};

use crate::journal::Journal;
use crate::op::{self, Op};

/// `socket.data` of the contract.
pub(crate) struct SocketData(pub(crate) Value);

/// What `/auth` knows of its clients.
pub(crate) struct User {
    pub(crate) name: String,
}

type App = State<Arc<Journal>>;

pub(crate) fn echo<U: Send + Sync + 'static>(socket: &Socket<U>) {
    socket.on("echo", async |socket: Socket<U>, event: Event, ack: Ack| {
        if ack.is_expected() {
            return ack.send(&event);
        }
        socket.emit("echo", &event).await.map(drop)
    });
}

pub(crate) fn op<U: Send + Sync + 'static>(socket: &Socket<U>) {
    socket.on("op", async |socket: Socket<U>, event: Event, Data(op): Data<Op>| {
        let answer = match op.from {
            Some(op::From::Io) => op::from_io(&socket.io(), &op, event.attachments()).await,
            Some(op::From::Socket) | None => op::from_socket(&socket, &op, event.attachments()).await,
        };
        Ok(answer)
    });
}

pub(crate) fn join<U: Send + Sync + 'static>(socket: &Socket<U>) {
    socket.on("join", async |socket: Socket<U>, Data(room): Data<String>| {
        socket.join(room);
        Ok(socket.rooms())
    });
}

pub(crate) fn bye<U: Send + Sync + 'static>(socket: &Socket<U>) {
    // It has no answer, so it takes the ack and drops it.
    socket.on(
        "bye",
        async |socket: Socket<U>, Data(close): Data<Option<bool>>, _: Ack| {
            socket.disconnect(close.unwrap_or(false));
        },
    );
}

pub(crate) fn data_get<U: Send + Sync + 'static>(socket: &Socket<U>) {
    socket.on("data:get", async |socket: Socket<U>| Ok(data_of(&socket)));
}

pub(crate) fn data_of<U: Send + Sync + 'static>(socket: &Socket<U>) -> Value {
    socket
        .state::<SocketData>()
        .map_or_else(|| json!({}), |data| data.0.clone())
}

pub(crate) fn handshake<U: Send + Sync + 'static>(socket: &Socket<U>) {
    socket.on("handshake", async |socket: Socket<U>, State(journal): App| {
        Ok(describe(socket.handshake(), &journal.url))
    });
}

fn describe(handshake: &Handshake, url: &str) -> Value {
    const OF_THE_TRANSPORT: [&str; 5] = ["EIO", "transport", "sid", "t", "b64"];
    let query: serde_json::Map<String, Value> = form_urlencoded::parse(handshake.query_string().as_bytes())
        .filter(|(name, _)| !OF_THE_TRANSPORT.contains(&&**name))
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    json!({
        "auth": handshake.auth::<Value>().unwrap_or_else(|_| json!({})),
        "query": query,
        "custom": handshake.header("x-custom"),
        "address": handshake.address().map(|address| address.to_canonical()),
        "issued": handshake.time_ms(),
        "url": url,
        "secure": handshake.is_secure(),
        "xdomain": handshake.header("origin").is_some(),
    })
}

pub(crate) fn rooms(socket: &Socket) {
    socket.on("leave", async |socket: Socket, Data(room): Data<String>| {
        socket.leave(room);
        Ok(socket.rooms())
    });
    socket.on("rooms", async |socket: Socket| Ok(socket.rooms()));
}

/// Events whose order the tests check.
pub(crate) fn sequences(socket: &Socket) {
    socket.on("seq", async |socket: Socket, Data(n): Data<Value>, ack: Ack| {
        if ack.is_expected() {
            return ack.send(n);
        }
        socket.emit("seq", n).await.map(drop)
    });

    #[derive(Deserialize)]
    struct Interleave {
        room: String,
        count: u64,
    }
    socket.on(
        "interleave",
        async |socket: Socket, io: Io, Data(asked): Data<Interleave>| {
            socket.join(&asked.room);
            for i in 0..asked.count {
                io.to(&asked.room).emit("a", i);
                socket.emit("b", i);
            }
            Ok("done")
        },
    );

    socket.on("flood", async |socket: Socket, Data(count): Data<u64>| {
        for i in 0..count {
            socket.emit("flood", i);
        }
        Ok("done")
    });

    socket.on("big", async |Data(count): Data<usize>| Ok("x".repeat(count)));
}

pub(crate) fn data_set(socket: &Socket) {
    socket.on("data:set", async |socket: Socket, Data(value): Data<Value>| {
        socket.set_state(SocketData(json!({ "value": value })));
        Ok(value)
    });
}

pub(crate) fn late_ack(socket: &Socket) {
    socket.on("ack:late", async |socket: Socket, State(journal): App, ack: Ack| {
        journal.hold(ack);
        journal.note("held", &socket, json!({}));
    });
}

pub(crate) fn forbidden(socket: &Socket) {
    socket.on("forbidden:event", async || Ok("handled"));
}

pub(crate) fn chat<U: ChatUser>(socket: &Socket<U>) {
    socket.on("room:join", async |socket: Socket<U>, Data(room): Data<String>| {
        let room = format!("room:{room}");
        socket.join(&room);
        Ok(room)
    });

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Draft {
        room_id: Value,
        content: Value,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message<'a> {
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        room_id: Value,
        content: Value,
    }
    socket.on(
        "chat:message",
        async |socket: Socket<U>, io: Io, State(journal): App, Data(draft): Data<Draft>| -> Result<u64> {
            let room = match &draft.room_id {
                Value::String(room) => format!("room:{room}"),
                other => format!("room:{other}"),
            };
            let message = Message {
                id: journal.next_message(),
                user: socket.user().name(),
                room_id: draft.room_id,
                content: draft.content,
            };
            io.to(room).emit("chat:message", &message);
            Ok(message.id)
        },
    );
}

/// Whoever may chat: with a name on `/auth`, without elsewhere.
pub(crate) trait ChatUser: Send + Sync + 'static {
    fn name(&self) -> Option<&str>;
}

impl ChatUser for User {
    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }
}

impl ChatUser for () {
    fn name(&self) -> Option<&str> {
        None
    }
}
