//! Read marks as clients see them: the same on all devices of a user, whatever each speaks.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use support::plain::{EventSource, Ws, get, id, request, seq};
use support::{Client, Polling, blocking, serve};
use tidings::{Action, Builder, Code, Data, Error, EventId, Handshake, Identity, Io, Retention, Socket, Tidings};

struct User(String);

/// The token is the user's id, and `guest` nobody's. Everyone may read the own channel and those that begin with `open`.
fn set_up(io: &Io) {
    io.auth(async |handshake: Handshake| Ok(User(handshake.token()?.to_owned())));
    io.identify_some(|user: &User| (user.0 != "guest").then(|| Identity::new(&*user.0)));
    io.authorize(async |user: Arc<User>, action: Action, channel: Arc<str>| {
        let is_own = *channel == format!("user:{}", user.0);
        match is_own && action != Action::Publish || channel.starts_with("open") {
            true => Ok(()),
            false => Err(Error::forbidden("no")),
        }
    });
    io.on_connect(async |socket: Socket<User>| socket.join(format!("user:{}", socket.user().0)));
    io.on("read", async |socket: Socket<User>, io: Io, Data(id): Data<String>| {
        let id: EventId = id.parse().map_err(|_| Error::coded(Code::InvalidId, "no id"))?;
        let user = &socket.user().0;
        io.inbox().read(user, &format!("user:{user}"), id).await
    });
}

async fn start(builder: Builder) -> (Io, SocketAddr) {
    let io = builder.shards(2).build();
    set_up(&io);
    let address = serve(&io).await;
    (io, address)
}

async fn emit(io: &Io, channel: &str, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(io.to(channel).emit("e", number).await.unwrap().unwrap().to_string());
    }
    ids
}

fn read(channel: &str, until: &str) -> Value {
    json!({ "type": "read", "channel": channel, "until": until })
}

fn unread(channel: &str) -> Value {
    json!({ "type": "unread", "channel": channel })
}

/// The arguments of the Socket.IO event that a packet is.
fn event(packet: &str) -> Value {
    serde_json::from_str(
        packet
            .strip_prefix("42")
            .unwrap_or_else(|| panic!("no event: {packet}")),
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_on_one_device_is_read_on_all() {
    let (io, address) = start(Tidings::builder()).await;
    let ids = emit(&io, "user:ann", 5).await;
    let emitting = io.clone();
    blocking(move || {
        let ann = json!({ "token": "ann" });
        let (mut socket, _) = Client::enter(address, "/", &ann);
        let (mut polling, _) = Polling::enter(address, "/", &ann);
        let mut ws = Ws::enter(address, "?access_token=ann");
        let mut bob = Ws::enter(address, "?access_token=bob");
        let mut stream = EventSource::open(address, "/sse?channel=user:ann&access_token=ann", &[]);
        while stream.last_id.is_empty() {
            stream.block().unwrap();
        }

        assert_eq!(ws.ask(unread("user:ann")), Ok(json!({ "unread": 5 })));
        let left = json!({ "unread": 2, "read": ids[2] });
        assert_eq!(ws.ask(read("user:ann", &ids[2])), Ok(left));
        let told = json!({ "channel": "user:ann", "unread": 2, "read": ids[2] });
        for packet in [socket.receive(), polling.receive()] {
            assert_eq!(event(&packet), json!(["tidings:read", told]));
        }
        let block = stream.event().unwrap();
        assert_eq!((block.event.as_deref(), &block.id), (Some("tidings:read"), &None));
        assert_eq!(block.json(), told);
        assert_eq!(stream.last_id, ids[4], "it moves no cursor");

        // Further, on another device.
        let answer = socket.ask(&format!("[\"read\",\"{}\"]", ids[3]));
        assert_eq!(
            serde_json::from_str::<Value>(&answer).unwrap(),
            json!([{ "unread": 1, "read": ids[3] }])
        );
        let told = json!({ "type": "read", "channel": "user:ann", "unread": 1, "read": ids[3] });
        assert_eq!(ws.receive(), told);
        // Back is answered, and nobody hears of it.
        for id in [&ids[0], &ids[3]] {
            let answer = ws.ask(read("user:ann", id));
            assert_eq!(answer, Ok(json!({ "unread": 1, "read": ids[3] })));
        }
        emitting.to("user:ann").emit("last", 1);
        assert_eq!(ws.receive()["event"], "last");
        assert_eq!(ws.ask(unread("user:ann")), Ok(json!({ "unread": 2, "read": ids[3] })));
        // Nor does anybody else.
        bob.send(&json!({ "type": "ping", "id": "x" }));
        assert_eq!(bob.receive()["id"], "x");
        assert_eq!(bob.ask(unread("user:bob")), Ok(json!({ "unread": 0 })));
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_has_a_mark_in_each_channel_and_own_events_are_read() {
    let (io, address) = start(Tidings::builder()).await;
    blocking(move || {
        let mut ann = Ws::enter(address, "?access_token=ann");
        let mut bob = Ws::enter(address, "?access_token=bob");
        let publish = json!({ "type": "publish", "channel": "open:1", "event": "e" });
        let mut ids = Vec::new();
        for by_ann in [true, false, true, true] {
            let ws = if by_ann { &mut ann } else { &mut bob };
            let published = ws.ask(publish.clone()).unwrap();
            ids.push(published["id"].as_str().unwrap().to_owned());
        }
        assert_eq!(ann.ask(unread("open:1")), Ok(json!({ "unread": 1 })));
        assert_eq!(bob.ask(unread("open:1")), Ok(json!({ "unread": 3 })));
        assert_eq!(
            bob.ask(read("open:1", &ids[2])),
            Ok(json!({ "unread": 1, "read": ids[2] }))
        );
        assert_eq!(bob.ask(unread("open:2")), Ok(json!({ "unread": 0 })));
        assert_eq!(ann.ask(unread("open:1")), Ok(json!({ "unread": 1 })));
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_read_may_not_mark_and_what_is_no_id_is_refused() {
    let (io, address) = start(Tidings::builder()).await;
    let ids = emit(&io, "open", 1).await;
    let future = id(&io, seq(&ids[0]) + 1);
    blocking(move || {
        let mut ann = Ws::enter(address, "?access_token=ann");
        let mut guest = Ws::enter(address, "?access_token=guest");
        for (question, code) in [
            (read("user:bob", &ids[0]), "forbidden"),
            (unread("user:bob"), "forbidden"),
            (unread("/open"), "invalid_channel"),
            (read("open", &future), "invalid_id"),
            (read("open", "aaaaaaaa-1"), "invalid_id"),
            (read("open", "1"), "invalid_id"),
            (json!({ "type": "read", "channel": "open" }), "bad_request"),
        ] {
            assert_eq!(ann.ask(question.clone()), Err(code.to_owned()), "{question}");
        }
        assert_eq!(ann.ask(unread("open")), Ok(json!({ "unread": 1 })));
        for question in [read("open", &ids[0]), unread("open")] {
            assert_eq!(guest.ask(question), Err("unauthenticated".to_owned()));
        }
        // What waits for events does not hear of marks.
        let poll = "/poll?wait=0&channel=user:ann&access_token=ann";
        assert_eq!(get(address, poll, &[]).json()["events"], json!([]));
        assert_eq!(request(address, "POST", poll, &[], "").status, 405);
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_device_hears_of_an_older_mark_after_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let (io, address) = start(Tidings::builder().store(folder.path())).await;
    let ids = emit(&io, "user:ann", 60).await;
    let mut ws = blocking(move || Ws::enter(address, "?access_token=ann")).await;
    let mut reads = Vec::new();
    // From all sides, and not in order.
    for at in 0..ids.len() {
        let (io, id) = (io.clone(), ids[at * 7 % ids.len()].parse().unwrap());
        reads.push(tokio::spawn(
            async move { io.inbox().read("ann", "user:ann", id).await },
        ));
    }
    for read in reads {
        let answer = read.await.unwrap().unwrap();
        let after = usize::try_from(answer.read.unwrap().seq() - seq(&ids[0])).unwrap() + 1;
        assert!(answer.unread <= ids.len() - after);
    }
    blocking(move || {
        let mut last = 0;
        while last < seq(&ids[59]) {
            let told = ws.receive();
            let read = seq(told["read"].as_str().unwrap());
            assert!(told["type"] == "read" && read >= last, "{told} after {last}");
            last = read;
        }
    })
    .await;
    io.close().await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_was_answered_survives_kill() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |folder: &Path| Tidings::builder().store(folder).history(|_| Some(Retention::new()));
    let (io, _) = start(kept(folder.path())).await;
    let ids = emit(&io, "user:ann", 5).await;
    for (at, id) in ids.iter().enumerate() {
        let id = id.parse().unwrap();
        let left = io.inbox().read("ann", "user:ann", id).await.unwrap();
        assert_eq!(left.unread, 4 - at);
        // What a kill would leave at this moment.
        let copied = folder.path().join("copies").join(at.to_string());
        copy(&folder.path().join("store"), &copied.join("store"));
        let (again, _) = start(kept(&copied)).await;
        assert_eq!(again.inbox().unread("ann", "user:ann").await.unwrap(), left);
        again.close().await;
    }
    io.close().await;
}
