//! Who may do what on `/ws`, `/sse` and `/poll`, and what is said to those who may not.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get as route;
use serde_json::{Value, json};
use support::plain::{Block, EventSource, Ws, finish, get, id, request, seq, start};
use support::{Client, blocking, eventually, serve, serve_with};
use tidings::{Action, Code, Error, EventId, Grant, Handshake, Identity, Io, Limits, Result, Tidings};

struct User {
    id: String,
    expires_at: Option<SystemTime>,
}

/// The token is the user's id, with `ann@1700000000000` also when it ends.
fn users(io: &Io) {
    io.auth(async |handshake: Handshake| {
        let token = handshake.token()?;
        let (id, expires_ms) = token.split_once('@').map_or((token, None), |(id, ms)| (id, Some(ms)));
        if id == "mallory" {
            return Err(Error::coded(Code::TokenSignature, "this is nobody's token"));
        }
        Ok(User {
            id: id.to_owned(),
            expires_at: expires_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(ms.parse().unwrap())),
        })
    });
    io.identify(|user: &User| {
        let identity = Identity::new(&*user.id);
        match user.expires_at {
            Some(time) => identity.expires_at(time),
            None => identity,
        }
    });
}

fn token_that_ends_in(id: &str, time: Duration) -> String {
    let end = SystemTime::now() + time;
    format!("{id}@{}", end.duration_since(UNIX_EPOCH).unwrap().as_millis())
}

/// Everyone may do everything in rooms that begin with `open`.
fn open_rooms(io: &Io) {
    io.authorize(
        async |_: Arc<User>, _: Action, channel: Arc<str>| match channel.starts_with("open") {
            true => Ok(()),
            false => Err(Error::forbidden("no")),
        },
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_a_user_reads_the_own_channel_and_does_nothing_else() {
    let io = Tidings::builder().build();
    users(&io);
    let address = serve(&io).await;
    io.to("user:ann").emit("hello", 1).await.unwrap();
    let emitting = io.clone();
    blocking(move || {
        let ann = [("Authorization", "Bearer ann")];
        for path in ["/poll?wait=0&", "/sse?"] {
            for refused in [
                "channel=user:bob",
                "channel=news",
                "channel=user:ann&channel=news",
                "channel=user:ann:x",
            ] {
                get(address, &format!("{path}{refused}"), &ann).assert_problem(403, "forbidden");
            }
            let nobody = get(address, &format!("{path}channel=user:ann"), &[]);
            nobody.assert_problem(401, "unauthenticated");
            assert_eq!(nobody.header("www-authenticate"), Some("Bearer"));
            let mallory = get(address, &format!("{path}channel=user:ann&access_token=mallory"), &[]);
            mallory.assert_problem(401, "token_signature");
        }
        let own = get(address, "/poll?wait=0&channel=user:ann", &ann);
        assert_eq!(own.json()["events"][0]["data"], 1, "{own:?}");
        let mut stream = EventSource::open(address, "/sse?channel=user:ann&access_token=ann", &[]);
        while stream.last_id.is_empty() {
            stream.block().unwrap();
        }

        let mut ws = Ws::open(address, "?access_token=ann");
        let welcome = ws.receive();
        assert_eq!(
            welcome,
            json!({ "type": "welcome", "user": "ann", "heartbeat_ms": 25_000 })
        );
        let forbidden = Err("forbidden".to_owned());
        assert_eq!(ws.subscribe(&["user:bob"], None), forbidden);
        assert_eq!(ws.subscribe(&["user:ann", "news"], None), forbidden);
        let publish = json!({ "type": "publish", "channel": "user:ann", "event": "e", "data": 1 });
        assert_eq!(ws.ask(publish), forbidden);
        for kind in ["history", "presence"] {
            assert_eq!(ws.ask(json!({ "type": kind, "channel": "news" })), forbidden, "{kind}");
            assert!(
                ws.ask(json!({ "type": kind, "channel": "user:ann" })).is_ok(),
                "{kind} of the own channel"
            );
        }
        // It is in the own channel without asking.
        emitting.to("user:ann").emit("hello", 2);
        emitting.to("user:bob").emit("hello", 3);
        emitting.to("user:ann").emit("hello", 4);
        for data in [2, 4] {
            let event = ws.receive();
            assert_eq!(
                (&event["channel"], &event["data"]),
                (&json!("user:ann"), &json!(data)),
                "{event}"
            );
            let event = stream.event().unwrap();
            assert_eq!(event.json()["data"], data);
        }
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_says_who_it_is_or_is_closed() {
    let io = Tidings::builder().build();
    users(&io);
    let address = serve(&io).await;
    blocking(move || {
        let refused = |first: Option<serde_json::Value>, query: &str, code: &str| {
            let mut ws = Ws::open(address, query);
            if let Some(first) = first {
                ws.send(&first);
            }
            let (messages, closed) = ws.end();
            assert_eq!(closed, Some(4401), "{messages:?}");
            assert_eq!(
                (messages.len(), &messages[0]["type"], &messages[0]["code"]),
                (1, &json!("error"), &json!(code))
            );
        };
        refused(None, "?access_token=mallory", "token_signature");
        refused(
            Some(json!({ "type": "auth", "token": "mallory" })),
            "",
            "token_signature",
        );
        refused(
            Some(json!({ "type": "subscribe", "channels": ["user:ann"] })),
            "",
            "unauthenticated",
        );
        refused(Some(json!("what is this")), "", "unauthenticated");

        let mut ws = Ws::open(address, "");
        ws.send(&json!({ "type": "auth", "id": "a", "token": "ann" }));
        assert_eq!(ws.receive()["user"], "ann");
        assert_eq!(ws.receive(), json!({ "type": "ok", "id": "a", "result": {} }));
        // Another user's token is refused, and the client stays who it is.
        assert_eq!(
            ws.ask(json!({ "type": "auth", "token": "bob" })),
            Err("unauthenticated".to_owned())
        );
        assert!(ws.subscribe(&["user:ann"], None).is_ok());
        assert_eq!(ws.subscribe(&["user:bob"], None), Err("forbidden".to_owned()));
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_into_a_sockets_own_room() {
    let io = Tidings::builder().build();
    io.authorize(async |_: Arc<()>, _, _| Ok(()));
    let address = serve(&io).await;
    blocking(move || {
        let socket = Client::connect(address);
        let query = format!("channel={}", socket.id);
        get(address, &format!("/poll?wait=0&{query}"), &[]).assert_problem(403, "forbidden");
        get(address, &format!("/sse?{query}"), &[]).assert_problem(403, "forbidden");
        let mut ws = Ws::enter(address, "");
        assert_eq!(ws.subscribe(&[&socket.id], None), Err("forbidden".to_owned()));
        let publish = json!({ "type": "publish", "channel": socket.id, "event": "e" });
        assert_eq!(ws.ask(publish), Err("forbidden".to_owned()));
        assert!(ws.subscribe(&["other"], None).is_ok());
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_for_users_of_another_type_allow_nothing() {
    let io = Tidings::builder().build();
    users(&io);
    io.authorize(async |_: Arc<String>, _, _| Ok(()));
    let address = serve(&io).await;
    blocking(move || {
        get(address, "/poll?wait=0&channel=a&access_token=ann", &[]).assert_problem(500, "internal");
        get(address, "/sse?channel=a&access_token=ann", &[]).assert_problem(500, "internal");
        let mut ws = Ws::enter(address, "?access_token=ann");
        assert_eq!(ws.subscribe(&["a"], None), Err("internal".to_owned()));
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_action_is_asked_for_and_its_error_is_the_clients() {
    let io = Tidings::builder().build();
    users(&io);
    io.authorize(
        async |user: Arc<User>, action: Action, channel: Arc<str>| match (&*user.id, action) {
            ("reader", Action::Subscribe) => Ok(Grant::new().presence(true)),
            ("writer", Action::Publish) => Ok(Grant::new()),
            ("old", Action::History) => Ok(Grant::new()),
            ("watcher", Action::Presence) => Ok(Grant::new()),
            ("broken", _) => Err("x".parse::<u8>().unwrap_err().into()),
            _ => Err(Error::with_code("not_today", format!("{action:?} {channel}"))),
        },
    );
    let address = serve(&io).await;
    blocking(move || {
        let requests = [
            ("reader", json!({ "type": "subscribe", "channels": ["c"] })),
            ("old", json!({ "type": "history", "channel": "c" })),
            ("watcher", json!({ "type": "presence", "channel": "c" })),
            ("writer", json!({ "type": "publish", "channel": "c", "event": "e" })),
        ];
        let mut clients: Vec<(&str, Ws)> = ["reader", "writer", "old", "watcher", "broken"]
            .map(|user| (user, Ws::enter(address, &format!("?access_token={user}"))))
            .into();
        for (allowed, request) in &requests {
            for (user, ws) in &mut clients {
                let expected = match *user {
                    user if user == *allowed => None,
                    "broken" => Some("internal"),
                    _ => Some("not_today"),
                };
                assert_eq!(
                    ws.ask(request.clone()).err().as_deref(),
                    expected,
                    "{user} and {request}"
                );
            }
        }
        // It shows in presence, by its grant; and the publisher of an event is who published it.
        let presence = clients[3].1.ask(json!({ "type": "presence", "channel": "c" }));
        assert_eq!(presence, Ok(json!({ "users": [{ "user": "reader" }], "count": 1 })));
        let event = loop {
            let message = clients[0].1.receive();
            if message["type"] == "event" {
                break message;
            }
        };
        assert_eq!((&event["user"], &event["event"]), (&json!("writer"), &json!("e")));
        let refused = get(address, "/poll?channel=c&access_token=writer", &[]);
        refused.assert_problem(400, "not_today");
        assert_eq!(refused.json()["detail"], "Subscribe c");
        let broken = get(address, "/sse?channel=c&access_token=broken", &[]);
        broken.assert_problem(500, "internal");
        assert!(!broken.body.contains("digit"), "{broken:?}");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_users_are_nobody() {
    let io = Tidings::builder().build();
    io.auth(async |handshake: Handshake| Ok(handshake.token().unwrap_or("guest").to_owned()));
    io.identify_some(|user: &String| (user != "guest").then(|| Identity::new(&**user)));
    io.authorize(async |_: Arc<String>, _, _| Ok(Grant::new().presence(true)));
    let address = serve(&io).await;
    blocking(move || {
        let mut guest = Ws::open(address, "");
        assert_eq!(guest.receive()["user"], json!(null));
        let mut ann = Ws::enter(address, "?access_token=ann");
        for ws in [&mut guest, &mut ann] {
            ws.subscribe(&["c"], None).unwrap();
        }
        let presence = ann.ask(json!({ "type": "presence", "channel": "c" }));
        assert_eq!(presence.unwrap()["count"], 1, "a guest is in no presence");
        guest
            .ask(json!({ "type": "publish", "channel": "c", "event": "e" }))
            .unwrap();
        let event = loop {
            let message = ann.receive();
            if message["type"] == "event" {
                break message;
            }
        };
        assert_eq!(event.get("user"), None, "{event}");
        // A guest may say who it is later.
        guest.ask(json!({ "type": "auth", "token": "bob" })).unwrap();
        guest
            .ask(json!({ "type": "publish", "channel": "c", "event": "e" }))
            .unwrap();
        let event = loop {
            let message = ann.receive();
            if message["type"] == "event" {
                break message;
            }
        };
        assert_eq!(event["user"], "bob");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_have_problem_documents() {
    let io = Tidings::builder().build();
    io.authorize(async |_: Arc<()>, _, _| Ok(()));
    let address = serve(&io).await;
    blocking(move || {
        let many = |count: usize| (0..count).map(|i| format!("channel=c{i}&")).collect::<String>();
        let long = "x".repeat(256);
        for (path, code) in [
            ("/poll", "bad_request"),
            ("/sse", "bad_request"),
            ("/poll?channel=", "invalid_channel"),
            ("/poll?channel=/a", "invalid_channel"),
            ("/sse?channel=a%0ab", "invalid_channel"),
            (&format!("/sse?channel={long}"), "invalid_channel"),
            (&format!("/sse?{}", many(129)), "too_many_channels"),
            (&format!("/poll?{}", many(129)), "too_many_channels"),
            ("/poll?channel=a&since=", "invalid_id"),
            ("/poll?channel=a&since=abc", "invalid_id"),
            ("/poll?channel=a&since=abcdefgh-01", "invalid_id"),
            ("/poll?channel=a&since=abcdefgh-99999999999999999", "invalid_id"),
            ("/poll?channel=a&limit=0", "bad_request"),
            ("/poll?channel=a&wait=x", "bad_request"),
            ("/poll?channel=a&wait=1&wait=2", "bad_request"),
            ("/sse?channel=a&format=xml", "bad_request"),
            ("/sse?channel=a&named=2", "bad_request"),
        ] {
            get(address, path, &[]).assert_problem(400, code);
        }
        for path in ["/poll?channel=a", "/sse?channel=a", "/ws"] {
            request(address, "POST", path, &[], "x").assert_problem(405, "method_not_allowed");
        }
        assert_eq!(
            get(address, &format!("/poll?{}wait=0", many(128)), &[]).status,
            200,
            "the limit itself is allowed"
        );
        // On a WebSocket the same codes.
        let mut ws = Ws::enter(address, "");
        let names: Vec<String> = (0..129).map(|i| format!("c{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let code = |answer: std::result::Result<serde_json::Value, String>| answer.unwrap_err();
        assert_eq!(code(ws.subscribe(&names, None)), "too_many_channels");
        assert!(ws.subscribe(&names[..128], None).is_ok());
        assert_eq!(code(ws.subscribe(&["one more"], None)), "too_many_channels");
        assert!(ws.subscribe(&names[..5], None).is_ok(), "these it has already");
        assert_eq!(code(ws.subscribe(&["/a"], None)), "invalid_channel");
        assert_eq!(code(ws.subscribe(&["c1"], Some("abc"))), "invalid_id");
        assert_eq!(code(ws.ask(json!({ "type": "subscribe" }))), "bad_request");
        let publish = json!({ "type": "publish", "channel": "c1", "event": "disconnect" });
        assert_eq!(code(ws.ask(publish)), "bad_request");
        ws.socket.send(tungstenite::Message::text("{")).unwrap();
        assert_eq!(ws.receive()["code"], "invalid_json");
        ws.socket.send(tungstenite::Message::binary(vec![1_u8])).unwrap();
        assert_eq!(ws.end().1, Some(1003));
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_expired_is_warned_and_then_closed() {
    let io = Tidings::builder().build();
    users(&io);
    let address = serve(&io).await;
    blocking(move || {
        let token = token_that_ends_in("ann", Duration::from_secs(2));
        let ws = Ws::enter(address, &format!("?access_token={token}"));
        let stream = EventSource::open(address, &format!("/sse?channel=user:ann&access_token={token}"), &[]);
        let (messages, code) = ws.end();
        assert_eq!(code, Some(4401));
        let kinds: Vec<_> = messages.iter().map(|message| &message["type"]).collect();
        assert_eq!(kinds, ["expiring", "error"]);
        assert_eq!(messages[1]["code"], "token_expired");
        let (blocks, retry) = stream.end();
        let named: Vec<_> = blocks.iter().filter_map(|block| block.event.as_deref()).collect();
        assert_eq!(named, ["expiring"]);
        assert!(retry.is_some(), "it comes back, with a token of its own");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_token_keeps_the_connection_and_drops_what_it_does_not_grant() {
    let io = Tidings::builder().build();
    io.auth(async |handshake: Handshake| {
        // `ann <expires ms> <rooms>`
        let mut words = handshake.token()?.split('_');
        let id = words.next().unwrap().to_owned();
        let expires_at = UNIX_EPOCH + Duration::from_millis(words.next().unwrap().parse().unwrap());
        Ok((id, expires_at, words.next().unwrap_or_default().to_owned()))
    });
    type Claims = (String, SystemTime, String);
    io.identify(|(id, expires_at, _): &Claims| Identity::new(&**id).expires_at(*expires_at));
    io.authorize(
        async |claims: Arc<Claims>, _, channel: Arc<str>| match claims.2.contains(&*channel) {
            true => Ok(()),
            false => Err(Error::forbidden("no")),
        },
    );
    let address = serve(&io).await;
    let token = |time: Duration, rooms: &str| {
        let end = (SystemTime::now() + time).duration_since(UNIX_EPOCH).unwrap();
        format!("ann_{}_{rooms}", end.as_millis())
    };
    let short = token(Duration::from_secs(2), "ab");
    let long = token(Duration::from_secs(3_600), "b");
    let mut ws = blocking(move || {
        let mut ws = Ws::enter(address, &format!("?access_token={short}"));
        ws.subscribe(&["a", "b"], None).unwrap();
        ws.ask(json!({ "type": "auth", "token": long })).unwrap();
        ws
    })
    .await;
    eventually("it is in one room less", || io.counts().subscriptions == 1).await;
    // Past the end of the first token.
    tokio::time::sleep(Duration::from_secs(4)).await;
    io.to("a").emit("e", 1);
    io.to("b").emit("e", 2);
    let event = blocking(move || ws.receive()).await;
    assert_eq!((&event["channel"], &event["data"]), (&json!("b"), &json!(2)), "{event}");
    io.close().await;
}

/// An application's own stream route.
fn own_route(io: &Io) -> Router {
    let stream = io.clone();
    let plain = route(async move |headers: HeaderMap| stream.sse(&headers).channel("news").channel("sport"));
    let stream = io.clone();
    let raw = route(async move |headers: HeaderMap| stream.sse(&headers).channel("news").raw().named());
    let stream = io.clone();
    let bad = route(async move |headers: HeaderMap| stream.sse(&headers).channel("news").channel("/bad").channel("x"));
    let stream = io.clone();
    let since = route(async move |headers: HeaderMap| {
        let start: EventId = id(&stream, 1).parse().unwrap();
        stream.sse(&headers).channel("news").since(start)
    });
    Router::new()
        .route("/plain", plain)
        .route("/raw", raw)
        .route("/bad", bad)
        .route("/since", since)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_the_answer_of_an_own_route() {
    let io = Tidings::builder().build();
    let address = serve_with(&io, own_route(&io)).await;
    for number in 1..=4 {
        io.to(["news", "sport"][number % 2]).emit("goal", number).await.unwrap();
    }
    let emitting = io.clone();
    blocking(move || {
        let id = |seq| id(&emitting, seq);
        let numbers = |stream: &mut EventSource, count: usize| -> Vec<u64> {
            let numbers = (0..count).map(|_| stream.event().unwrap());
            numbers
                .map(|block| {
                    let event = block.json();
                    assert_eq!(event["id"], json!(null), "the id is the stream's field");
                    assert_eq!(event["event"], "goal");
                    let number = event["data"].as_u64().unwrap();
                    assert_eq!(seq(block.id.as_deref().unwrap()), number);
                    number
                })
                .collect()
        };
        let mut stream = EventSource::open(address, "/plain", &[]);
        assert_eq!(stream.header("cache-control"), Some("no-store, no-transform"));
        assert_eq!(stream.header("x-accel-buffering"), Some("no"));
        assert!(stream.block().unwrap().retry.is_some());
        stream.block().unwrap();
        assert_eq!(stream.last_id, id(4), "a new client has a cursor at once");
        emitting.to("sport").emit("goal", 5);
        assert_eq!(numbers(&mut stream, 1), [5]);

        let mut back = EventSource::open(address, "/plain", &[("Last-Event-ID", &id(2))]);
        assert_eq!(numbers(&mut back, 3), [3, 4, 5]);
        // The header is the browser's own, `since` is for who has none.
        let mut back = EventSource::open(address, "/since", &[("Last-Event-ID", &id(2))]);
        assert_eq!(numbers(&mut back, 1), [4]);
        let mut new = EventSource::open(address, "/since", &[]);
        assert_eq!(numbers(&mut new, 2), [2, 4]);

        let mut raw = EventSource::open(address, "/raw", &[("Last-Event-ID", &id(2))]);
        let expected = Block {
            id: Some(id(4)),
            event: Some("goal".to_owned()),
            data: Some("4".to_owned()),
            retry: None,
        };
        assert_eq!(raw.event(), Some(expected));

        // What is no id, or of another log, or of the future, is a gap in all channels.
        for last in ["x", "zzzzzzzz-1", &id(99), "%00"] {
            let mut lost = EventSource::open(address, "/plain", &[("Last-Event-ID", last)]);
            let gap = lost.event().unwrap();
            assert_eq!(gap.event.as_deref(), Some("gap"), "{last}");
            assert_eq!(gap.json(), json!({ "channels": ["news", "sport"], "next": id(0) }));
            assert_eq!(gap.id, Some(id(0)));
            assert_eq!(numbers(&mut lost, 5), [1, 2, 3, 4, 5]);
        }
        // An empty one is none.
        let mut new = EventSource::open(address, "/plain", &[("Last-Event-ID", "")]);
        new.block();
        new.block();
        assert_eq!(new.last_id, id(5));

        get(address, "/bad", &[]).assert_problem(400, "invalid_channel");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_routes_let_only_pages_of_allowed_origins_in() {
    let io = Tidings::builder().allowed_origin("https://app.example").build();
    let own = Router::new().route(
        "/mine",
        route(async |headers: HeaderMap| match headers.contains_key("x-fail") {
            true => Err(Error::with_code("on_purpose", "no").with_data(&[1, 2])),
            false => Ok("mine"),
        }),
    );
    let broken = Router::new().route(
        "/broken",
        route(async || -> Result<&'static str> { Err("x".parse::<u8>().unwrap_err().into()) }),
    );
    let address = serve_with(&io, io.for_allowed_origins(own).merge(broken)).await;
    blocking(move || {
        let app = ("Origin", "https://app.example");
        for path in ["/mine", "/poll?channel=a", "/sse?channel=a", "/ws"] {
            let refused = get(address, path, &[("Origin", "https://evil.example")]);
            refused.assert_problem(403, "origin_not_allowed");
            assert_eq!(refused.header("access-control-allow-origin"), None);
            assert!(refused.body.contains("https://evil.example") && refused.body.contains("allowed_origin"));

            let preflight = [
                app,
                ("Access-Control-Request-Method", "GET"),
                ("Access-Control-Request-Headers", "authorization"),
            ];
            let preflight = request(address, "OPTIONS", path, &preflight, "");
            assert_eq!(preflight.status, 204, "{path}");
            assert_eq!(
                preflight.header("access-control-allow-headers"),
                Some("authorization"),
                "{preflight:?}"
            );
        }
        let ours = get(address, "/mine", &[app]);
        assert_eq!((ours.status, &*ours.body), (200, "mine"));
        let failed = get(address, "/mine", &[app, ("X-Fail", "1")]);
        failed.assert_problem(400, "on_purpose");
        assert_eq!(failed.json()["data"], json!([1, 2]));
        let refused = get(address, "/poll?channel=a", &[app]);
        refused.assert_problem(403, "forbidden");
        for answer in [ours, failed, refused] {
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some("https://app.example"),
                "{answer:?}"
            );
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            assert_eq!(answer.header("access-control-expose-headers"), Some("ETag"));
            assert!(answer.header("vary").unwrap().contains("Origin"));
        }
        // No page at all is decided by its token alone.
        assert_eq!(get(address, "/mine", &[]).status, 200);
        let broken = get(address, "/broken", &[]);
        broken.assert_problem(500, "internal");
        assert!(!broken.body.contains("digit"), "{broken:?}");
    })
    .await;
    io.close().await;
}

/// A server that takes one connection, and its first client.
async fn full(per_ip: bool) -> (Io, SocketAddr, EventSource) {
    let mut limits = Limits::default();
    if per_ip {
        limits.connections_per_ip = 1;
    } else {
        limits.connections = 1;
    }
    let io = Tidings::builder().limits(limits).build();
    io.authorize(async |_: Arc<()>, _, _| Ok(()));
    let address = serve(&io).await;
    let first = blocking(move || EventSource::open(address, "/sse?channel=a", &[])).await;
    (io, address, first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_put_off() {
    for per_ip in [false, true] {
        let (io, address, first) = full(per_ip).await;
        blocking(move || {
            get(address, "/poll?wait=0&channel=a", &[]).assert_problem(429, "too_many_connections");
            assert_eq!(Ws::try_open(address, "", &[]).err(), Some(429));
            let put_off = EventSource::open(address, "/sse?channel=a", &[]);
            let (blocks, retry) = put_off.end();
            assert_eq!(blocks.len(), 1, "{blocks:?}");
            assert!(retry.is_some_and(|ms| (1_000..=3_000).contains(&ms)), "{retry:?}");
        })
        .await;
        assert_eq!(io.counts().connections, 1, "who was refused does not count");
        drop(first);
        eventually("its place is free", || io.counts().connections == 0).await;
        // A poll that waits has it for as long as it waits, and no longer.
        let waiting = blocking(move || {
            let now = get(address, "/poll?channel=a", &[]).json();
            let since = now["next"].as_str().unwrap();
            start(
                address,
                "GET",
                &format!("/poll?channel=a&since={since}&wait=60"),
                &[],
                "",
            )
        })
        .await;
        eventually("it waits", || io.counts().subscriptions == 1).await;
        blocking(move || get(address, "/poll?wait=0&channel=a", &[]).assert_problem(429, "too_many_connections")).await;
        io.to("a").emit("e", 1);
        let answer = blocking(move || finish(waiting)).await;
        assert_eq!(answer.json()["events"][0]["data"], 1);
        eventually("its place is free", || io.counts().connections == 0).await;
        io.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drains_says_so_on_each_transport() {
    let io = Tidings::builder().build();
    users(&io);
    open_rooms(&io);
    let address = serve(&io).await;
    let id = io.to("open").emit("e", 1).await.unwrap().unwrap().to_string();
    let (ws, stream, poll) = blocking({
        let id = id.clone();
        move || {
            let mut ws = Ws::enter(address, "?access_token=ann");
            ws.subscribe(&["open"], None).unwrap();
            let stream = EventSource::open(address, "/sse?channel=open&access_token=ann", &[]);
            let path = format!("/poll?channel=open&since={id}&wait=60&access_token=ann");
            (ws, stream, start(address, "GET", &path, &[], ""))
        }
    })
    .await;
    eventually("all wait", || io.counts().subscriptions == 3).await;
    let ends = tokio::task::spawn_blocking(move || (ws.end(), stream.end(), finish(poll)));
    io.close().await;
    let ((messages, code), (blocks, retry), answer) = ends.await.unwrap();
    assert_eq!((messages.len(), code), (0, Some(1012)), "{messages:?}");
    assert!(retry.is_some(), "{blocks:?}");
    assert_eq!(
        answer.json(),
        json!({ "events": [], "next": id, "gap": false, "gaps": [] })
    );
    blocking(move || {
        let token = [("Authorization", "Bearer ann")];
        get(address, "/poll?channel=open", &token).assert_problem(503, "draining");
        assert_eq!(Ws::try_open(address, "", &token).err(), Some(503));
        let (blocks, retry) = EventSource::open(address, "/sse?channel=open", &token).end();
        assert_eq!((blocks.len(), retry.is_some()), (1, true));
    })
    .await;
}

/// What happened, in the order it happened.
type Seen = Arc<std::sync::Mutex<Vec<String>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_knows_what_a_client_speaks_and_when_it_has_gone() {
    let io = Tidings::builder().build();
    let seen = Seen::default();
    let note = {
        let seen = Arc::clone(&seen);
        move |what: String| seen.lock().unwrap().push(what)
    };
    let came = note.clone();
    io.auth(async move |handshake: Handshake| {
        let id = handshake.token()?.to_owned();
        let before = handshake.renewed::<User>().map(|user| user.id.clone());
        came(format!("{id} {:?} {before:?}", handshake.kind().unwrap()));
        Ok(User { id, expires_at: None })
    });
    io.identify(|user: &User| Identity::new(&*user.id));
    open_rooms(&io);
    io.on_gone(async move |user: Arc<User>, reason| note(format!("{} gone: {reason}", user.id)));
    let address = serve(&io).await;
    let speaker = io.clone();
    blocking(move || {
        let runtime = tokio::runtime::Handle::current();
        let wait = |count| runtime.block_on(eventually("it was noted", || seen.lock().unwrap().len() == count));
        let sse = EventSource::open(address, "/sse?channel=open&access_token=eve", &[]);
        drop(sse);
        wait(2);
        get(address, "/poll?channel=open&wait=0&access_token=joe", &[]);
        let mut ws = Ws::enter(address, "?access_token=ann");
        ws.ask(json!({ "type": "auth", "token": "ann" })).unwrap();
        drop(ws);
        wait(6);
        // A poll that has its event ends as it should.
        let query = "/poll?channel=open&access_token=kim";
        let next: Value = get(address, query, &[]).json();
        let waiting = start(
            address,
            "GET",
            &format!("{query}&since={}", next["next"].as_str().unwrap()),
            &[],
            "",
        );
        runtime.block_on(eventually("it waits", || speaker.counts().subscriptions == 1));
        drop(speaker.to("open").emit("e", 1));
        assert_eq!(finish(waiting).status, 200);
        wait(9);
        assert_eq!(
            *seen.lock().unwrap(),
            [
                "eve Sse None",
                "eve gone: transport close",
                "joe Poll None",
                "ann Websocket None",
                "ann Websocket Some(\"ann\")",
                "ann gone: transport close",
                "kim Poll None",
                "kim Poll None",
                "kim gone: transport close"
            ]
        );
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_has_the_last_word_on_all_channels_of_a_request() {
    let io = Tidings::builder().build();
    users(&io);
    open_rooms(&io);
    let seen = Seen::default();
    let asked = Arc::clone(&seen);
    io.before_subscribe(async move |_: Arc<User>, channels: Vec<Arc<str>>| {
        asked.lock().unwrap().push(channels.join(" "));
        match channels.iter().any(|channel| channel.ends_with("no")) {
            true => Err(Error::forbidden("no")),
            false => Ok(()),
        }
    });
    let address = serve(&io).await;
    blocking(move || {
        let mut ws = Ws::enter(address, "?access_token=ann");
        let forbidden = Err("forbidden".to_owned());
        assert!(ws.subscribe(&["open:1", "open:2"], None).is_ok());
        assert_eq!(ws.subscribe(&["open:3", "open:no"], None), forbidden);
        assert_eq!(ws.subscribe(&["open:3", "closed"], None), forbidden);
        let poll = |channel: &str| {
            get(
                address,
                &format!("/poll?channel={channel}&wait=0&access_token=ann"),
                &[],
            )
        };
        poll("open:no").assert_problem(403, "forbidden");
        assert_eq!(poll("open:4").status, 200);
        let sse = get(address, "/sse?channel=open:5&channel=open:no&access_token=ann", &[]);
        sse.assert_problem(403, "forbidden");
        // Only what is granted is asked about, and not the own channel.
        let expected = ["open:1 open:2", "open:3 open:no", "open:no", "open:4", "open:5 open:no"];
        assert_eq!(*seen.lock().unwrap(), expected);
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_is_in_the_channels_that_the_application_names() {
    let io = Tidings::builder().build();
    users(&io);
    open_rooms(&io);
    io.first_channels(|user: &User| ["open:all".into(), format!("open:{}", user.id).into(), "closed".into()].to_vec());
    let address = serve(&io).await;
    let emitting = io.clone();
    blocking(move || {
        let mut ws = Ws::enter(address, "?access_token=ann");
        for channel in ["closed", "open:bob", "open:all", "open:ann"] {
            emitting.to(channel).emit("e", 1);
        }
        for channel in ["open:all", "open:ann"] {
            assert_eq!(ws.receive()["channel"], channel);
        }
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_has_the_status_that_the_application_says() {
    let io = Tidings::builder().build();
    io.auth(async |handshake: Handshake| -> Result<User> {
        let error = Error::with_code(handshake.token()?.to_owned(), "no");
        Err(match error.code() {
            "banned" => error.with_status(axum::http::StatusCode::FORBIDDEN),
            _ => error,
        })
    });
    let address = serve(&io).await;
    blocking(move || {
        for (code, status, closed) in [("banned", 403, 4403), ("forbidden", 403, 4403), ("odd", 400, 4401)] {
            get(address, &format!("/poll?channel=a&access_token={code}"), &[]).assert_problem(status, code);
            let (messages, close) = Ws::open(address, &format!("?access_token={code}")).end();
            assert_eq!((close, &messages[0]["code"]), (Some(closed), &json!(code)));
        }
    })
    .await;
    io.close().await;
}
