//! The namespaces of the contract: who may enter, and which events each has.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings::{Ack, Error, Event, Handshake, Io, Result, Socket};

use crate::events::{self, SocketData, User};
use crate::journal::{Journal, observe};

pub(crate) fn register(io: &Io, journal: &Arc<Journal>) {
    root(io, journal);
    admin(&io.of("/admin"), journal);
    auth(&io.of("/auth"), journal);
    slow(&io.of("/slow"), journal);
    rooms(&io.of_matching(is_room), journal);
    for n in 0..200 {
        let journal = Arc::clone(journal);
        io.of(&format!("/n{n}")).on_connect(async move |socket: Socket| {
            observe(&journal, &socket);
            events::echo(&socket);
        });
    }
    // An event that nothing handles gets no answer, as in Node; by default it is told that nobody knows it.
    for nsp in ["/", "/admin", "/auth", "/slow"] {
        io.of(nsp).on_unknown(async |_: Ack| ());
    }
}

/// `^\/room-[0-9]+$`
fn is_room(path: &str) -> bool {
    path.strip_prefix("/room-")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn root(io: &Io, journal: &Arc<Journal>) {
    let journal = Arc::clone(journal);
    io.on_connect(async move |socket: Socket| {
        observe(&journal, &socket);
        watch(&journal, &socket);
        events::echo(&socket);
        events::sequences(&socket);
        events::join(&socket);
        events::rooms(&socket);
        events::op(&socket);
        events::data_set(&socket);
        events::data_get(&socket);
        events::handshake(&socket);
        events::bye(&socket);
        events::late_ack(&socket);
        events::chat(&socket);
        events::forbidden(&socket);
    });
}

/// Notes every event of a socket, and refuses some.
fn watch(journal: &Arc<Journal>, socket: &Socket) {
    let (seen, seeing) = (Arc::clone(journal), socket.clone());
    socket.on_any(async move |event: Event| {
        if event.name() != "seq" && event.name() != "flood" {
            let more = json!({ "event": event.name(), "args": event.argument_count() });
            seen.note("any", &seeing, more);
        }
    });
    let (refused, refusing) = (Arc::clone(journal), socket.clone());
    socket.before_event(async move |event: Event| {
        if !event.name().starts_with("forbidden:") {
            return Ok(());
        }
        refused.note("refused", &refusing, json!({ "event": event.name() }));
        Err(Error::forbidden("event refused").with_data(&json!({ "code": "forbidden" })))
    });
}

fn admin(io: &Io, journal: &Arc<Journal>) {
    let journal = Arc::clone(journal);
    io.on_connect(async move |socket: Socket| {
        observe(&journal, &socket);
        socket.emit("welcome", "admin");
        events::echo(&socket);
        events::op(&socket);
        events::join(&socket);
        events::bye(&socket);
    });
}

fn auth(io: &Io, journal: &Arc<Journal>) {
    io.auth(async |handshake: Handshake| who(&handshake));
    io.before_connect(async |socket: Socket<User>| {
        if socket.user().name == "banned" {
            return Err(Error::new("banned").with_data(&json!({ "reason": "banned" })));
        }
        socket.set_state(SocketData(json!({ "user": socket.user().name })));
        Ok(())
    });
    let journal = Arc::clone(journal);
    io.on_connect(async move |socket: Socket<User>| {
        observe(&journal, &socket);
        socket.join(format!("user:{}", socket.user().name));
        events::echo(&socket);
        events::data_get(&socket);
        events::handshake(&socket);
        events::chat(&socket);
    });
}

fn who(handshake: &Handshake) -> Result<User> {
    let auth: Value = handshake.auth().unwrap_or_default();
    let refused = || Error::new("token refused").with_data(&"plain text");
    match auth.get("token") {
        None => Err(Error::new("token missing")),
        Some(Value::String(token)) if token == "expired" => {
            let data = json!({ "code": "token_expired", "at": 1_700_000_000, "nested": [1, { "a": null }] });
            Err(Error::new("token expired").with_data(&data))
        }
        Some(Value::String(token)) => {
            let name = token.strip_prefix("good-").ok_or_else(refused)?;
            Ok(User { name: name.to_owned() })
        }
        Some(_) => Err(refused()),
    }
}

fn slow(io: &Io, journal: &Arc<Journal>) {
    let gates = Arc::clone(journal);
    io.before_connect(async move |_: Socket| {
        let _ = gates.gate().await; // it opens, or the app ends
        Ok(())
    });
    let journal = Arc::clone(journal);
    io.on_connect(async move |socket: Socket| {
        observe(&journal, &socket);
        events::echo(&socket);
    });
}

fn rooms(io: &Io, journal: &Arc<Journal>) {
    io.on_unknown(async |_: Ack| ());
    let journal = Arc::clone(journal);
    io.on_connect(async move |socket: Socket| {
        observe(&journal, &socket);
        socket.emit("room:hello", socket.namespace());
        events::echo(&socket);
        events::op(&socket);
    });
}
