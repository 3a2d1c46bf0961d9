//! Connection state recovery, on the wire of stock clients: `pid` and `offset` in CONNECT; what was missed, then the CONNECT of
//! the same socket.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::plain::{id, seq};
use support::{Client, Entered, Polling, blocking, eventually, serve};
use tidings::{Binary, Builder, Code, Data, Error, Handshake, Identity, Io, Limits, Recovery, Socket, Tidings};

struct User(String);

/// Clients say their user, `ann` unless they do, and the rooms they want in `auth`.
fn set_up(io: &Io) {
    io.auth(async |handshake: Handshake| Ok(User(handshake.token().unwrap_or("ann").to_owned())));
    io.identify(|user: &User| Identity::new(&*user.0));
    io.on_connect(async |socket: Socket<User>| join_wanted(&socket));
    io.on("leave", async |socket: Socket<User>, Data(room): Data<String>| {
        socket.leave(room);
        Ok(())
    });
    io.on("rooms", async |socket: Socket<User>| {
        let mut rooms = socket.rooms();
        rooms.retain(|room| room != socket.id());
        rooms.sort();
        Ok((socket.recovered(), rooms))
    });
}

fn join_wanted(socket: &Socket<User>) {
    #[derive(serde::Deserialize)]
    struct Wanted {
        #[serde(default)]
        rooms: Vec<String>,
    }
    if socket.recovered() {
        return;
    }
    for room in socket.handshake().auth::<Wanted>().unwrap().rooms {
        socket.join(room);
    }
}

fn builder() -> Builder {
    Tidings::builder().shards(2).recovery(Recovery::default())
}

async fn start(builder: Builder) -> (Io, SocketAddr) {
    let io = builder.build();
    set_up(&io);
    let address = serve(&io).await;
    (io, address)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    WebSocket,
    Polling,
}

enum Wire {
    WebSocket(Client),
    Polling(Polling),
}

impl Wire {
    fn receive(&mut self) -> String {
        match self {
            Wire::WebSocket(client) => client.receive(),
            Wire::Polling(client) => client.receive(),
        }
    }
}

/// A client that is in: what it would send when it comes back.
struct Visit {
    wire: Wire,
    namespace: String,
    sid: String,
    pid: String,
    offset: Option<String>,
    /// The arguments of events that came before the CONNECT.
    missed: Vec<Value>,
}

impl Visit {
    fn with(address: SocketAddr, transport: Transport, namespace: &str, auth: &Value) -> Self {
        let (wire, entered) = match transport {
            Transport::WebSocket => {
                let (client, entered) = Client::enter(address, namespace, auth);
                (Wire::WebSocket(client), entered)
            }
            Transport::Polling => {
                let (client, entered) = Polling::enter(address, namespace, auth);
                (Wire::Polling(client), entered)
            }
        };
        let Entered { sid, pid, before } = entered;
        let mut visit = Self {
            wire,
            namespace: namespace.to_owned(),
            sid,
            pid: pid.expect("recovery is on"),
            offset: auth["offset"].as_str().map(str::to_owned),
            missed: Vec::new(),
        };
        visit.missed = before.iter().map(|packet| visit.event(packet)).collect();
        visit
    }

    /// A new client.
    fn new(address: SocketAddr, auth: &Value) -> Self {
        Self::with(address, Transport::WebSocket, "/", auth)
    }

    /// An event's name and first argument; notes its id.
    fn event(&mut self, packet: &str) -> Value {
        let json = packet
            .strip_prefix("42")
            .unwrap_or_else(|| panic!("no event: {packet}"));
        let json = match &*self.namespace {
            "/" => json,
            namespace => json
                .strip_prefix(namespace)
                .and_then(|json| json.strip_prefix(','))
                .unwrap_or_else(|| panic!("of another namespace: {packet}")),
        };
        let arguments: Vec<Value> = serde_json::from_str(json).unwrap();
        let offset = arguments.last().unwrap().as_str().unwrap();
        seq(offset);
        self.offset = Some(offset.to_owned());
        arguments[1].clone()
    }

    fn receive(&mut self) -> Value {
        let packet = self.wire.receive();
        self.event(&packet)
    }

    fn ask(&mut self, event: &str) -> Value {
        let packet = format!("4277{event}");
        match &mut self.wire {
            Wire::WebSocket(client) => client.send(&packet),
            Wire::Polling(client) => client.send(&packet),
        }
        loop {
            let packet = self.wire.receive();
            match packet.strip_prefix("4377") {
                Some(answer) => return serde_json::from_str(answer).unwrap(),
                None => self.event(&packet),
            };
        }
    }

    /// What the client sends next time.
    fn auth(&self) -> Value {
        let mut auth = json!({ "pid": self.pid });
        if let Some(offset) = &self.offset {
            auth["offset"] = json!(offset);
        }
        auth
    }

    /// Cuts the connection, without any goodbye.
    async fn cut(self, io: &Io) -> Gone {
        let before = io.counts().sockets;
        let gone = Gone {
            namespace: self.namespace.clone(),
            sid: self.sid.clone(),
            pid: self.pid.clone(),
            auth: self.auth(),
        };
        let wire = self.wire;
        blocking(move || {
            if let Wire::Polling(client) = &wire {
                client.close(); // else the server would find out when pings are not answered
            }
        })
        .await;
        eventually("the client is away", || io.counts().sockets < before).await;
        gone
    }
}

/// A client whose connection is gone.
#[derive(Clone)]
struct Gone {
    namespace: String,
    sid: String,
    pid: String,
    auth: Value,
}

impl Gone {
    /// Comes back, and says also this.
    async fn back_with(&self, address: SocketAddr, transport: Transport, more: Value) -> Visit {
        let mut auth = self.auth.clone();
        for (key, value) in more.as_object().unwrap() {
            auth[key] = value.clone();
        }
        let namespace = self.namespace.clone();
        blocking(move || Visit::with(address, transport, &namespace, &auth)).await
    }

    async fn back(&self, address: SocketAddr) -> Visit {
        self.back_with(address, Transport::WebSocket, json!({})).await
    }

    #[track_caller]
    fn assert_recovered(&self, visit: &Visit, missed: &[Value]) {
        assert_eq!((&visit.sid, &visit.pid), (&self.sid, &self.pid), "another socket");
        assert_eq!(visit.missed, missed);
    }

    #[track_caller]
    fn assert_new(&self, visit: &Visit) {
        assert!(visit.sid != self.sid && visit.pid != self.pid, "it was recovered");
        assert!(visit.missed.is_empty(), "{:?}", visit.missed);
    }
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<Value> {
    range.map(Value::from).collect()
}

async fn emit(io: &Io, room: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        io.to(room).emit("e", number).await.unwrap();
    }
}

/// A new client that is in its rooms.
async fn new(address: SocketAddr, auth: Value) -> Visit {
    blocking(move || {
        let mut visit = Visit::new(address, &auth);
        visit.ask("[\"rooms\"]"); // handled when `on_connect` is
        visit
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_comes_first_however_often_and_on_whatever_transport() {
    let (io, address) = start(builder()).await;
    let visit = new(address, json!({ "rooms": ["a", "b"] })).await;
    let mut gone = visit.cut(&io).await;
    // No event has come yet: there is no offset.
    assert_eq!(gone.auth.get("offset"), None);
    let mut number = 0;
    for transport in [
        Transport::WebSocket,
        Transport::Polling,
        Transport::Polling,
        Transport::WebSocket,
        Transport::WebSocket,
    ] {
        let missed = numbers(number + 1..=number + 4);
        io.to("b").emit("e", number + 1).await.unwrap();
        io.to("a").to("b").emit("e", number + 2).await.unwrap();
        io.to("nobody").emit("e", "not its own").await.unwrap();
        io.to("a").except(&gone.sid).emit("e", "not for it").await.unwrap();
        io.except("b").emit("e", "not for it").await.unwrap();
        io.to(&gone.sid).emit("e", number + 3).await.unwrap();
        io.emit("e", number + 4).await.unwrap();
        let mut visit = gone.back_with(address, transport, json!({ "rooms": ["x"] })).await;
        gone.assert_recovered(&visit, &missed);
        assert_eq!(io.counts().sessions, 0);
        io.to("a").emit("e", number + 5).await.unwrap();
        visit = blocking(move || {
            assert_eq!(visit.receive(), number + 5);
            assert_eq!(visit.ask("[\"rooms\"]"), json!([[true, ["a", "b"]]]));
            visit
        })
        .await;
        gone = visit.cut(&io).await;
        number += 5;
    }
    // Nothing was missed.
    let visit = gone.back(address).await;
    gone.assert_recovered(&visit, &[]);
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_not_yet_known_to_be_dead_is_taken_over() {
    for old in [Transport::WebSocket, Transport::Polling] {
        let (io, address) = start(builder()).await;
        let mut half_open = blocking(move || {
            let mut visit = Visit::with(address, old, "/", &json!({ "rooms": ["a"] }));
            visit.ask("[\"rooms\"]"); // handled when `on_connect` is
            visit
        })
        .await;
        emit(&io, "a", 1..=1).await;
        half_open = blocking(move || {
            assert_eq!(half_open.receive(), 1);
            half_open
        })
        .await;
        let gone = Gone {
            namespace: "/".to_owned(),
            sid: half_open.sid.clone(),
            pid: half_open.pid.clone(),
            auth: half_open.auth(),
        };
        emit(&io, "a", 2..=3).await;
        let mut visit = gone.back(address).await;
        gone.assert_recovered(&visit, &numbers(2..=3));
        emit(&io, "a", 4..=4).await;
        blocking(move || {
            assert_eq!(visit.receive(), 4);
            match half_open.wire {
                Wire::WebSocket(client) => assert_eq!(client.closed(), Some(4409)),
                Wire::Polling(mut client) => while client.receive() != "1" {},
            }
            assert_eq!(visit.ask("[\"rooms\"]"), json!([[true, ["a"]]]));
        })
        .await;
        io.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_come_back_at_once_one_is_recovered() {
    let (io, address) = start(builder()).await;
    for _ in 0..20 {
        let gone = new(address, json!({ "rooms": ["a"] })).await.cut(&io).await;
        emit(&io, "a", 1..=1).await;
        let coming: Vec<_> = (0..4)
            .map(|_| {
                let gone = gone.clone();
                tokio::spawn(async move { gone.back(address).await })
            })
            .collect();
        let mut recovered = 0;
        let mut visits = Vec::new();
        for coming in coming {
            let visit = coming.await.unwrap();
            // Each may take over from the one before, and then has missed the same.
            if visit.sid == gone.sid {
                recovered += 1;
                assert_eq!(visit.missed, numbers(1..=1));
            }
            visits.push(visit);
        }
        assert!(recovered >= 1);
        // Who had it before is closed when the new socket is set up.
        let began = std::time::Instant::now();
        while io.to("a").sockets::<User>().await.len() > 1 {
            assert!(began.elapsed().as_secs() < 10, "one socket is there twice");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        drop(visits);
        eventually("all are away", || io.counts().sockets == 0).await;
    }
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_users_session_is_not_to_be_had() {
    let (io, address) = start(builder()).await;
    let mut victim = new(address, json!({ "rooms": ["a"] })).await;
    let live = Gone {
        namespace: "/".to_owned(),
        sid: victim.sid.clone(),
        pid: victim.pid.clone(),
        auth: victim.auth(),
    };
    let thief = live
        .back_with(address, Transport::WebSocket, json!({ "token": "bob" }))
        .await;
    live.assert_new(&thief);
    emit(&io, "a", 1..=1).await;
    victim = blocking(move || {
        assert_eq!(victim.receive(), 1);
        victim
    })
    .await;
    let away = victim.cut(&io).await;
    let thief = away
        .back_with(address, Transport::Polling, json!({ "token": "bob" }))
        .await;
    away.assert_new(&thief);
    emit(&io, "a", 2..=2).await;
    let visit = away
        .back_with(address, Transport::WebSocket, json!({ "token": "ann" }))
        .await;
    away.assert_recovered(&visit, &numbers(2..=2));
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_session_or_no_place_in_it_is_a_new_one() {
    let (io, address) = start(builder()).await;
    let future = id(&io, 1_000);
    let changes: Vec<(&str, Value)> = vec![
        ("pid", json!("")),
        ("pid", json!("x")),
        ("pid", json!("AAAAAAAAAAAAAAAAAAAA")),
        ("pid", json!(7)),
        ("pid", json!(null)),
        ("pid", json!(["x"])),
        ("pid", json!("é".repeat(20))),
        ("pid", json!("x".repeat(5_000))),
        ("offset", json!("")),
        ("offset", json!("x")),
        ("offset", json!(7)),
        ("offset", json!({})),
        ("offset", json!("zzzzzzzz-1")),
        ("offset", json!(future)),
        ("offset", json!("zzzzzzzz-99999999999999999")),
    ];
    for (key, value) in changes {
        for transport in [Transport::WebSocket, Transport::Polling] {
            let mut visit = new(address, json!({ "rooms": ["a"] })).await;
            emit(&io, "a", 1..=1).await;
            visit = blocking(move || {
                visit.receive();
                visit
            })
            .await;
            let gone = visit.cut(&io).await;
            let visit = gone
                .back_with(address, transport, json!({ key: value, "rooms": ["b"] }))
                .await;
            gone.assert_new(&visit);
            let mut visit = visit;
            blocking(move || assert_eq!(visit.ask("[\"rooms\"]"), json!([[false, ["b"]]]))).await;
        }
    }
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_before_a_socket_or_before_it_joined_is_not_its_own() {
    let (io, address) = start(builder()).await;
    emit(&io, "a", 1..=3).await;
    io.emit("e", 4).await.unwrap();
    let gone = new(address, json!({ "rooms": ["a"] })).await.cut(&io).await;
    emit(&io, "a", 5..=6).await;
    // As a client that had another session before says it: it keeps its offset.
    let old = json!({ "offset": id(&io, 1) });
    let mut visit = gone.back_with(address, Transport::WebSocket, old).await;
    gone.assert_recovered(&visit, &numbers(5..=6));
    // What it left before it was cut, too.
    visit = blocking(move || {
        assert_eq!(visit.ask("[\"leave\",\"a\"]"), json!([]));
        visit
    })
    .await;
    let gone = visit.cut(&io).await;
    emit(&io, "a", 7..=8).await;
    let visit = gone.back(address).await;
    gone.assert_recovered(&visit, &[]);
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_window_it_is_over_also_while_others_are_busy() {
    let recovery = Recovery::default().window(Duration::from_millis(300));
    let (io, address) = start(builder().shards(1).recovery(recovery)).await;
    let gone = new(address, json!({ "rooms": ["a"] })).await.cut(&io).await;
    let busy = tokio::spawn({
        let io = io.clone();
        async move {
            loop {
                emit(&io, "a", 1..=1).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    eventually("the session is over", || io.counts().sessions == 0).await;
    busy.abort();
    let visit = gone.back(address).await;
    gone.assert_new(&visit);
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_too_much_begins_anew() {
    let mut limits = Limits::default();
    limits.tail_channel_bytes = 100_000;
    let recovery = Recovery::default().events_max(10).bytes_max(30_000);
    let (io, address) = start(builder().limits(limits).recovery(recovery)).await;
    for (events, bytes, is_recovered) in [
        (10, 1, true),
        (11, 1, false),
        (5, 4_000, true),
        (9, 4_000, false),
        // So much that it is no longer retained.
        (2, 80_000, false),
    ] {
        let gone = new(address, json!({ "rooms": ["a"] })).await.cut(&io).await;
        let data = "x".repeat(bytes);
        for _ in 0..events {
            io.to("a").emit("e", &data).await.unwrap();
        }
        let visit = gone.back(address).await;
        match is_recovered {
            true => gone.assert_recovered(&visit, &vec![json!(data); events]),
            false => gone.assert_new(&visit),
        }
        assert_eq!(io.counts().sessions, 0);
        io.everyone().disconnect(true).await;
    }
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_does_to_rooms_meets_those_who_are_away_too() {
    let (io, address) = start(builder()).await;
    let gone = new(address, json!({ "rooms": ["a", "b"] })).await.cut(&io).await;
    emit(&io, "a", 1..=1).await;
    io.to("c").emit("e", "before it was in c").await.unwrap();
    io.within("b").join("c").await;
    emit(&io, "c", 2..=2).await;
    io.within("a").leave("a").await;
    emit(&io, "a", 3..=3).await;
    io.to(&gone.sid).join("d").await;
    io.within("c").except("d").join("e").await;
    emit(&io, "d", 4..=4).await;
    emit(&io, "e", 5..=5).await;
    let mut visit = gone.back(address).await;
    // What came in a before it was taken out of it is no longer its own.
    gone.assert_recovered(&visit, &[json!(2), json!(4)]);
    visit = blocking(move || {
        assert_eq!(visit.ask("[\"rooms\"]"), json!([[true, ["b", "c", "d"]]]));
        visit
    })
    .await;
    let gone = visit.cut(&io).await;
    io.within("d").except("b").disconnect(false).await;
    let visit = gone.back(address).await;
    gone.assert_recovered(&visit, &[]);
    let gone = visit.cut(&io).await;
    io.within("d").disconnect(false).await;
    assert_eq!(io.counts().sessions, 0);
    let visit = gone.back(address).await;
    gone.assert_new(&visit);
    io.close().await;
}

/// A gate that middleware waits at.
#[derive(Clone, Default)]
struct Gate(Arc<(AtomicBool, tokio::sync::Notify, tokio::sync::Notify)>);

impl Gate {
    async fn pass(&self) {
        let (is_shut, waiting, open) = &*self.0;
        if is_shut.load(Ordering::Acquire) {
            waiting.notify_one();
            open.notified().await;
        }
    }

    fn shut(&self) {
        self.0.0.store(true, Ordering::Release);
    }

    async fn somebody_waits(&self) {
        self.0.1.notified().await;
    }

    fn open(&self) {
        self.0.0.store(false, Ordering::Release);
        self.0.2.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_does_meets_those_who_are_just_coming_back() {
    let (io, address) = start(builder()).await;
    let gate = Gate::default();
    io.before_connect({
        let gate = gate.clone();
        async move |_: Socket<User>| {
            gate.pass().await;
            Ok(())
        }
    });
    let come_back = async |gone: &Gone, act: &dyn Fn()| {
        gate.shut();
        let coming = tokio::spawn({
            let gone = gone.clone();
            async move { gone.back(address).await }
        });
        gate.somebody_waits().await;
        act();
        gate.open();
        coming.await.unwrap()
    };
    let gone = new(address, json!({ "rooms": ["a", "b"] })).await.cut(&io).await;
    let mut visit = come_back(&gone, &|| {
        drop(io.within("a").leave("a"));
        drop(io.within("b").join("c"));
        drop(io.to("a").emit("e", "it has left"));
        drop(io.to("c").emit("e", 1));
        drop(io.to("b").emit("e", 2));
    })
    .await;
    assert_eq!((&visit.sid, visit.missed.len()), (&gone.sid, 2));
    assert_eq!(visit.missed, numbers(1..=2));
    visit = blocking(move || {
        assert_eq!(visit.ask("[\"rooms\"]"), json!([[true, ["b", "c"]]]));
        visit
    })
    .await;
    let gone = visit.cut(&io).await;
    let visit = come_back(&gone, &|| drop(io.within("b").disconnect(false))).await;
    blocking(move || match visit.wire {
        Wire::WebSocket(mut client) => assert_eq!(client.receive(), "41"),
        Wire::Polling(_) => unreachable!(),
    })
    .await;
    eventually("nobody is there", || io.counts().sockets == 0).await;
    assert_eq!(io.counts().sessions, 0);
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_a_refusal_that_is_not_final() {
    let (io, address) = start(builder()).await;
    let is_busy = Arc::new(AtomicBool::new(false));
    io.before_connect({
        let is_busy = Arc::clone(&is_busy);
        async move |_: Socket<User>| match is_busy.swap(false, Ordering::AcqRel) {
            true => Err(Error::coded(Code::Unavailable, "not now")),
            false => Ok(()),
        }
    });
    let gone = new(address, json!({ "rooms": ["a"] })).await.cut(&io).await;
    emit(&io, "a", 1..=1).await;
    is_busy.store(true, Ordering::Release);
    let auth = gone.auth.clone();
    blocking(move || {
        let mut client = Client::open(address);
        client.send(&format!("40{auth}"));
        assert_eq!(client.closed(), Some(1012));
    })
    .await;
    assert_eq!(io.counts().sessions, 1);
    let visit = gone.back(address).await;
    gone.assert_recovered(&visit, &numbers(1..=1));
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_before_the_application_has_set_it_up_begins_anew() {
    let io = builder().build();
    let gate = Gate::default();
    io.auth(async |_: Handshake| Ok(User("ann".to_owned())));
    io.on_connect({
        let gate = gate.clone();
        async move |socket: Socket<User>| {
            // As one that asks a database which rooms these are.
            gate.pass().await;
            join_wanted(&socket);
        }
    });
    let address = serve(&io).await;
    gate.shut();
    let visit = blocking(move || Visit::new(address, &json!({ "rooms": ["a"] }))).await;
    gate.somebody_waits().await;
    let auth = visit.auth();
    let (sid, pid) = (visit.sid.clone(), visit.pid.clone());
    drop(visit);
    eventually("it is away", || io.counts().sockets == 0).await;
    gate.open();
    let gone = Gone {
        namespace: "/".to_owned(),
        sid,
        pid,
        auth,
    };
    let mut visit = gone
        .back_with(address, Transport::WebSocket, json!({ "rooms": ["a"] }))
        .await;
    gone.assert_new(&visit);
    eventually("it is in its room", || io.counts().subscriptions == 3).await;
    emit(&io, "a", 1..=1).await;
    blocking(move || assert_eq!(visit.receive(), 1)).await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_restored_that_the_user_may_still_be_in() {
    let (io, address) = start(builder()).await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    io.recover_room({
        let asked = Arc::clone(&asked);
        async move |user: Arc<User>, room: Arc<str>| {
            asked.lock().unwrap().push(format!("{} {room}", user.0));
            *room != *"secret"
        }
    });
    let gone = new(address, json!({ "rooms": ["secret", "open"] }))
        .await
        .cut(&io)
        .await;
    emit(&io, "secret", 1..=1).await;
    emit(&io, "open", 2..=2).await;
    emit(&io, &gone.sid, 3..=3).await;
    let mut visit = gone.back(address).await;
    gone.assert_recovered(&visit, &numbers(2..=3));
    emit(&io, "secret", 4..=4).await;
    emit(&io, "open", 5..=5).await;
    visit = blocking(move || {
        assert_eq!(visit.receive(), 5);
        assert_eq!(visit.ask("[\"rooms\"]"), json!([[true, ["open"]]]));
        visit
    })
    .await;
    // Its own room is not asked for.
    asked.lock().unwrap().sort();
    assert_eq!(*asked.lock().unwrap(), ["ann open", "ann secret"]);
    // What it was refused once is gone for good.
    io.recover_room(async |_: Arc<User>, _| true);
    let gone = visit.cut(&io).await;
    emit(&io, "secret", 6..=6).await;
    let visit = gone.back(address).await;
    gone.assert_recovered(&visit, &[]);
    // Rules for users of another type allow nothing.
    io.recover_room(async |_: Arc<String>, _| true);
    let gone = visit.cut(&io).await;
    emit(&io, "open", 7..=7).await;
    let visit = gone.back(address).await;
    gone.assert_recovered(&visit, &[]);
    io.close().await;
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Score(u64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registered_state_is_restored_and_other_is_not() {
    let (io, address) = start(builder().recovery(Recovery::default().state::<Score>("score"))).await;
    struct Secret;
    io.on("score", async |socket: Socket<User>, Data(points): Data<u64>| {
        let before = socket.state::<Score>().map_or(0, |score| score.0);
        let had_secret = socket.state::<Secret>().is_some();
        socket.set_state(Score(before + points));
        socket.set_state(Secret);
        Ok((before, had_secret))
    });
    let mut visit = new(address, json!({})).await;
    for before in [0, 5, 10] {
        let gone = blocking(move || {
            let answer = visit.ask("[\"score\",3]");
            assert_eq!(answer, json!([[before, false]]));
            assert_eq!(visit.ask("[\"score\",2]"), json!([[before + 3, true]]));
            visit
        })
        .await
        .cut(&io)
        .await;
        visit = gone.back(address).await;
        gone.assert_recovered(&visit, &[]);
    }
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_logged_never_moves_the_place_back() {
    let (io, address) = start(builder().shards(1)).await;
    let visit = new(address, json!({ "rooms": ["a"] })).await;
    let socket: Socket<User> = io.sockets().await.remove(0);
    let publishers: Vec<_> = (0..3)
        .map(|_| {
            let (io, socket) = (io.clone(), socket.clone());
            tokio::task::spawn_blocking(move || {
                for number in 0..1_500 {
                    drop(io.to("a").emit("e", number));
                    drop(socket.emit_volatile("v", "text"));
                    drop(io.volatile().emit("v", "text"));
                }
            })
        })
        .collect();
    let reading = tokio::task::spawn_blocking(move || {
        let Wire::WebSocket(mut client) = visit.wire else {
            unreachable!()
        };
        let (mut last, mut volatile) = (0, 0);
        loop {
            let packet = client.receive();
            let arguments: Vec<Value> = serde_json::from_str(packet.strip_prefix("42").unwrap()).unwrap();
            let offset = seq(arguments.last().unwrap().as_str().unwrap());
            match arguments[0].as_str().unwrap() {
                "end" => return volatile,
                "e" => assert!(offset > last, "{offset} after {last}"),
                _ => {
                    assert!(
                        offset >= last,
                        "a volatile event moved the place from {last} back to {offset}"
                    );
                    volatile += 1;
                }
            }
            last = offset;
        }
    });
    for publisher in publishers {
        publisher.await.unwrap();
    }
    io.to("a").emit("end", ()).await.unwrap();
    assert!(reading.await.unwrap() > 0, "the test tests something");
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_namespace_has_a_session_of_its_own() {
    let (io, address) = start(builder()).await;
    let chat = io.of("/chat");
    chat.on_connect(async |socket: Socket<User>| join_wanted(&socket));
    let visit = blocking(move || Visit::with(address, Transport::WebSocket, "/chat", &json!({ "rooms": ["a"] }))).await;
    let gone = visit.cut(&io).await;
    chat.to("a").emit("e", 1).await.unwrap();
    emit(&io, "a", 2..=2).await;
    chat.emit("e", 3).await.unwrap();
    io.emit("e", 4).await.unwrap();
    let elsewhere = Gone {
        namespace: "/".to_owned(),
        ..gone.clone()
    };
    let visit = elsewhere.back(address).await;
    gone.assert_new(&visit);
    let mut visit = gone.back(address).await;
    gone.assert_recovered(&visit, &[json!(1), json!(3)]);
    // Both on one connection, which is cut: both come back.
    let (mut root, both) = blocking(move || {
        let Wire::WebSocket(client) = &mut visit.wire else {
            unreachable!()
        };
        client.send("40{\"rooms\":[\"a\"]}");
        let answer: Value = serde_json::from_str(client.receive().strip_prefix("40").unwrap()).unwrap();
        (answer["pid"].as_str().unwrap().to_owned(), visit)
    })
    .await;
    let auth = both.auth();
    drop(both);
    eventually("both are away", || io.counts().sessions == 2).await;
    emit(&io, "a", 5..=5).await;
    chat.to("a").emit("e", 6).await.unwrap();
    blocking(move || {
        let mut client = Client::open(address);
        client.send(&format!("40{{\"pid\":\"{root}\"}}"));
        client.send(&format!("40/chat,{auth}"));
        let mut packets = Vec::new();
        while packets.len() < 4 {
            packets.push(client.receive());
        }
        let of_chat = |packet: &&String| packet.contains("/chat,");
        let chat: Vec<&String> = packets.iter().filter(of_chat).collect();
        assert!(
            chat[0].starts_with("42/chat,[\"e\",6,") && chat[1].starts_with("40/chat,"),
            "{packets:?}"
        );
        let others: Vec<&String> = packets.iter().filter(|packet| !of_chat(packet)).collect();
        root = others[1].clone();
        assert!(
            others[0].starts_with("42[\"e\",5,") && root.starts_with("40{"),
            "{packets:?}"
        );
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goodbyes_are_final_and_other_ends_are_not() {
    let (io, address) = start(builder()).await;
    let ends: [(&str, bool); 6] = [
        ("client namespace", false),
        ("server namespace", false),
        ("server transport", false),
        ("closed transport", true),
        ("client transport", true),
        ("broken packet", true),
    ];
    for (how, is_recoverable) in ends {
        let visit = new(address, json!({ "rooms": ["a"] })).await;
        let gone = Gone {
            namespace: "/".to_owned(),
            sid: visit.sid.clone(),
            pid: visit.pid.clone(),
            auth: visit.auth(),
        };
        let socket: Socket<User> = io.sockets().await.remove(0);
        let Wire::WebSocket(mut client) = visit.wire else {
            unreachable!()
        };
        match how {
            "server namespace" => socket.disconnect(false),
            "server transport" => socket.disconnect(true),
            "closed transport" => socket.close_transport(4401),
            _ => {}
        }
        let client = blocking(move || {
            match how {
                "client namespace" => client.send("41"),
                "client transport" => client.send("1"),
                "broken packet" => client.send("4x"),
                _ => {}
            }
            client
        })
        .await;
        eventually("it is over", || io.counts().sockets == 0).await;
        assert_eq!(io.counts().sessions, usize::from(is_recoverable), "{how}");
        drop(client);
        emit(&io, "a", 1..=1).await;
        let visit = gone.back(address).await;
        match is_recoverable {
            true => gone.assert_recovered(&visit, &numbers(1..=1)),
            false => gone.assert_new(&visit),
        }
        drop(visit);
        eventually("it is over", || io.counts().sockets == 0).await;
        io.everyone().disconnect(true).await;
        assert_eq!(io.counts().sessions, 0);
    }
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_are_missed_and_replayed_too() {
    let (io, address) = start(builder()).await;
    let gone = new(address, json!({ "rooms": ["a"] })).await.cut(&io).await;
    io.to("a").emit("bytes", Binary(vec![1_u8, 2, 3].into())).await.unwrap();
    let auth = gone.auth.clone();
    blocking(move || {
        let mut client = Client::open(address);
        client.send(&format!("40{auth}"));
        let packet = client.receive();
        assert!(
            packet.starts_with("451-[\"bytes\",{\"_placeholder\":true,\"num\":0},\""),
            "{packet}"
        );
        assert_eq!(
            client.socket.read().unwrap(),
            tungstenite::Message::binary(vec![1_u8, 2, 3])
        );
        assert!(client.receive().starts_with("40{"));
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_store_sessions_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let stored = |rooms: Recovery| {
        builder()
            .recovery(rooms.state::<Score>("score"))
            .store(folder.path())
            .history(|channel| (channel != "memory").then(|| tidings::Retention::new().keep(100)))
    };
    let (io, address) = start(stored(Recovery::default())).await;
    io.on("score", async |socket: Socket<User>, Data(points): Data<u64>| {
        socket.set_state(Score(points));
        Ok(())
    });
    let mut visit = new(address, json!({ "rooms": ["a", "b", "c"] })).await;
    emit(&io, "a", 1..=1).await;
    visit = blocking(move || {
        assert_eq!(visit.receive(), 1);
        assert_eq!(visit.ask("[\"score\",7]"), json!([]));
        assert_eq!(visit.ask("[\"leave\",\"c\"]"), json!([]));
        visit
    })
    .await;
    let gone = visit.cut(&io).await;
    emit(&io, "a", 2..=2).await;
    io.within("b").join("d").await;
    emit(&io, "c", 3..=3).await;
    io.close().await;
    drop(io);

    let (io, address) = start(stored(Recovery::default())).await;
    io.on("score", async |socket: Socket<User>| {
        Ok(socket.state::<Score>().map(|score| score.0))
    });
    assert_eq!(io.counts().sessions, 1);
    emit(&io, "d", 4..=5).await;
    let mut visit = gone.back(address).await;
    gone.assert_recovered(&visit, &[json!(2), json!(4), json!(5)]);
    visit = blocking(move || {
        assert_eq!(visit.ask("[\"rooms\"]"), json!([[true, ["a", "b", "d"]]]));
        assert_eq!(visit.ask("[\"score\"]"), json!([7]));
        visit
    })
    .await;
    let gone = visit.cut(&io).await;
    io.close().await;
    drop(io);

    // After the window nothing is left of it, in the store either.
    let (io, address) = start(stored(Recovery::default().window(Duration::from_millis(100)))).await;
    eventually("it is over", || io.counts().sessions == 0).await;
    let visit = gone.back(address).await;
    gone.assert_new(&visit);
    io.everyone().disconnect(true).await;
    io.close().await;
    drop(io);
    let (io, _) = start(stored(Recovery::default())).await;
    assert_eq!(io.counts().sessions, 0);
    io.close().await;
}
