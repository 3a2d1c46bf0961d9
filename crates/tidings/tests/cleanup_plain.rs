//! Clients that come, subscribe and are cut leave nothing, whatever they speak.
//!
//! A thousand of each kind; `TIDINGS_CYCLES=10000` for as many as it takes to be sure.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::plain::{EventSource, Ws, get, start};
use support::random::{Random, seed};
use support::{Client, PATIENCE, Polling, cycles, resident_kib, serve};
use tidings::{Action, Grant, Handshake, Identity, Io, Limits, Recovery, Socket, Tidings};

/// Clients of one kind that come and go at once.
const AT_ONCE: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Ws,
    Sse,
    WaitingPoll,
    ShortPoll,
    SocketIo,
    SocketIoPolling,
}

const KINDS: [Kind; 6] = [
    Kind::Ws,
    Kind::Sse,
    Kind::WaitingPoll,
    Kind::ShortPoll,
    Kind::SocketIo,
    Kind::SocketIoPolling,
];

/// One client comes, subscribes, perhaps says or hears something, and is cut.
fn cycle(address: SocketAddr, kind: Kind, random: &mut Random, cursor: &str) {
    let user = format!("u{}", random.below(1_000));
    let (own, shared) = (format!("own:{user}"), "shared");
    let query = format!("channel={own}&channel={shared}&access_token={user}");
    let lasts = random.one_in(2);
    match kind {
        Kind::Ws => {
            let mut ws = Ws::enter(address, &format!("?access_token={user}"));
            let since = lasts.then_some(cursor);
            ws.send(&json!({ "type": "subscribe", "id": 1, "channels": [own, shared], "since": since }));
            if lasts {
                ws.send(&json!({ "type": "publish", "id": 2, "channel": own, "event": "e", "data": 1 }));
                while ws.receive()["id"] != 2 {}
            }
        }
        Kind::Sse => {
            let mut stream = EventSource::open(address, &format!("/sse?{query}"), &[("Last-Event-ID", cursor)]);
            while lasts && stream.last_id.is_empty() {
                stream.block().unwrap();
            }
        }
        Kind::WaitingPoll => {
            let now: Value = get(address, &format!("/poll?{query}"), &[]).json();
            let next = now["next"].as_str().unwrap();
            let poll = start(address, "GET", &format!("/poll?{query}&wait=60&since={next}"), &[], "");
            if lasts {
                std::thread::sleep(Duration::from_millis(random.below(5)));
            }
            drop(poll);
        }
        Kind::ShortPoll => {
            let since = if lasts {
                format!("&since={cursor}")
            } else {
                String::new()
            };
            let answer = get(address, &format!("/poll?{query}&wait=0{since}"), &[]);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        Kind::SocketIo => {
            let auth = json!({ "token": user });
            let (client, entered) = Client::enter(address, "/", &auth);
            if lasts {
                drop(client);
                let pid = entered.pid.unwrap();
                Client::enter(address, "/", &json!({ "token": user, "pid": pid }));
            }
        }
        Kind::SocketIoPolling => {
            let (client, _) = Polling::enter(address, "/", &json!({ "token": user }));
            if lasts {
                // An abandoned request ends the session; one that was answered before, the pings that nobody answers.
                drop(start(address, "GET", &client.path(), &[], ""));
            } else {
                client.close();
            }
        }
    }
}

async fn run(io: &Io, address: SocketAddr, kind: Kind, count: usize, seed: u64) {
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|number| {
            let io = io.clone();
            tokio::task::spawn_blocking(move || {
                let mut random = Random::new(seed, number as u64);
                for at in 0..count / AT_ONCE {
                    if at % 16 == 0 {
                        drop(io.to("shared").emit("e", at));
                    }
                    cycle(address, kind, &mut random, &io.cursor().to_string());
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let counts = || {
        let counts = io.counts();
        [
            counts.connections,
            counts.sockets,
            counts.channels,
            counts.subscriptions,
            counts.acks,
            counts.tasks,
            counts.sessions,
        ]
    };
    // A polling client that was told to go has 30 s to fetch that.
    let begin = Instant::now();
    while counts() != [0; 7] {
        assert!(
            begin.elapsed() < 2 * PATIENCE,
            "{kind:?}: connections, sockets, channels, subscriptions, acks, tasks, sessions {:?}",
            counts()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(io.presence().users("shared", None, 10).count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycles_leave_nothing_and_memory_is_flat() {
    let seed = seed();
    let mut limits = Limits::default();
    limits.tail_bytes = 1 << 20; // so that what is retained is soon all that it will be
    let io = Tidings::builder()
        .presence_grace(Duration::ZERO) // who is gone is gone
        .limits(limits)
        .ping_interval(Duration::from_secs(1))
        .ping_timeout(Duration::from_secs(1))
        .recovery(Recovery::default().window(Duration::from_millis(200)))
        .build();
    io.auth(async |handshake: Handshake| Ok(handshake.token()?.to_owned()));
    io.identify(|user: &String| Identity::new(&**user));
    io.authorize(async |_: Arc<String>, _: Action, _| Ok(Grant::new().presence(true)));
    io.on_connect(async |socket: Socket<String>| {
        socket.join("shared");
        socket.join(format!("own:{}", socket.user()));
        socket.set_state(vec![0_u8; 1_000]);
    });
    let address = serve(&io).await;
    let all = cycles(1_000);
    for kind in KINDS {
        run(&io, address, kind, all / 4, seed).await;
    }
    for kind in KINDS {
        let before = resident_kib();
        run(&io, address, kind, all, seed + 1).await;
        let grown = resident_kib().saturating_sub(before);
        println!("{kind:?}: {grown} KiB more after {all}");
        assert!(
            grown < 16 << 10,
            "{kind:?}: memory grew by {grown} KiB over {all} clients"
        );
    }
    io.close().await;
}
