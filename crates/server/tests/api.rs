//! The server API of the real binary: what it answers, and what it says to bad input.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may unwrap: its panic is its failure"
)]

mod support;

use serde_json::{Value, json};
use support::{API_KEY, Server};

/// A key that may publish to `room:*` and read, one that may publish to `news` alone.
const ROOMS_KEY: &str = "rooms-rooms-rooms-rooms-rooms-rooms";
const NEWS_KEY: &str = "news-news-news-news-news-news-news-news";

const TABLES: &str = r#"
[api]
key = "fedcba9876543210fedcba9876543210"
[[api.keys]]
name = "rooms"
sha256 = "6a45b1fc4b3a8fb1b0cfdbb9d7d2ae6ef7b7ee2fb5bb0a1b2fbb2cbb0d7a1f0e"
scopes = ["publish:room:*", "read"]
[[api.keys]]
name = "news"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
scopes = ["publish:news"]
[[channels]]
match = "room:*"
history = { keep = 1000 }
subscribe = "claims"
[[channels]]
match = "open:*"
subscribe = "anyone"
"#;

fn tables() -> String {
    TABLES
        .replace(
            "6a45b1fc4b3a8fb1b0cfdbb9d7d2ae6ef7b7ee2fb5bb0a1b2fbb2cbb0d7a1f0e",
            &sha256(ROOMS_KEY),
        )
        .replace(
            "0000000000000000000000000000000000000000000000000000000000000000",
            &sha256(NEWS_KEY),
        )
}

fn sha256(text: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn server(name: &str, head: &str, limits: &str) -> Server {
    Server::configured(name, head, &format!("{}\n[limits]\n{limits}", tables()))
}

fn outcome(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn history(server: &Server, query: &str) -> Value {
    let answer = server.request("GET", &format!("/api/v1/channels/room:1/history{query}"), API_KEY, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[test]
fn what_is_published_is_answered_kept_and_passed_on_as_it_was_written() {
    let mut server = server("api-publish", "", "");
    let answer =
        server.publish(r#"{"channel":"room:1","event":"said","data":{"b":1.50,"a":123456789012345678901234567890}}"#);
    assert_eq!(answer.status, 200, "{answer:?}");
    let first = answer.json();
    assert_eq!(
        (&first["duplicate"], &first["durability"]),
        (&json!(false), &json!("process"))
    );
    let memory = server.publish(r#"{"channel":"open:1","event":"said"}"#).json();
    assert_eq!(memory["durability"], "memory");
    let several = server.publish(r#"{"channels":["room:2","room:1","room:2"],"event":"said","data":[]}"#);
    assert_eq!(several.status, 200, "{several:?}");

    server.kill();
    server.start_again();
    let raw = server.request("GET", "/api/v1/channels/room:1/history", API_KEY, b"");
    let raw = support::text(&raw.body);
    assert!(
        raw.contains(r#""data":{"b":1.50,"a":123456789012345678901234567890}"#),
        "{raw}"
    );
    let page = history(&server, "");
    assert_eq!(page["events"].as_array().unwrap().len(), 2, "{page}");
    assert_eq!((&page["events"][0]["id"], &page["more"]), (&first["id"], &json!(false)));
    assert!(page["events"][0].get("user").is_none());
    assert_eq!(page["events"][1]["channel"], "room:1");
}

#[test]
fn a_key_publishes_once_across_a_kill() {
    let mut server = server("api-key", "durability = \"power\"", "");
    let publish = |server: &Server, channel: &str, data: u32| {
        server.publish(&json!({ "channel": channel, "event": "e", "data": data, "key": "k" }).to_string())
    };
    let first = publish(&server, "room:1", 1).json();
    assert_eq!(
        (&first["duplicate"], &first["durability"]),
        (&json!(false), &json!("power"))
    );
    assert_eq!(
        publish(&server, "room:2", 2).json()["duplicate"],
        false,
        "another channel's key is another key"
    );
    server.kill();
    server.start_again();
    let again = publish(&server, "room:1", 1).json();
    assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)));
    assert_eq!(publish(&server, "room:1", 2).outcome(), outcome(409, "key_conflict"));
    assert_eq!(history(&server, "")["events"].as_array().unwrap().len(), 1);
}

#[test]
fn who_shows_no_good_key_gets_nowhere() {
    let server = server("api-auth", "", "");
    let good = br#"{"channel":"room:1","event":"e"}"#;
    let user = server.token("ann", &["room:*"], &["room:*"]);
    for (key, status, code) in [
        ("", 401, "unauthenticated"),
        ("nonsense", 401, "unauthenticated"),
        (&API_KEY[1..], 401, "unauthenticated"),
        (&user, 401, "unauthenticated"),
        (NEWS_KEY, 403, "forbidden"),
        (ROOMS_KEY, 200, ""),
        (API_KEY, 200, ""),
    ] {
        let answer = server.request("POST", "/api/v1/publish", key, good);
        assert_eq!(answer.outcome(), outcome(status, code), "{key}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
    }
    for (path, key, status, code) in [
        ("/api/v1/channels", "", 401, "unauthenticated"),
        ("/api/v1/channels", &*user, 401, "unauthenticated"),
        ("/api/v1/channels", NEWS_KEY, 403, "forbidden"),
        ("/api/v1/channels", ROOMS_KEY, 200, ""),
        ("/api/v1/channels/room:1/history", NEWS_KEY, 403, "forbidden"),
        ("/api/v1/channels/room:1/history", ROOMS_KEY, 200, ""),
        ("/api/v1/publish", API_KEY, 405, "method_not_allowed"),
        ("/api/v1/nothing", API_KEY, 404, "not_found"),
    ] {
        assert_eq!(
            server.request("GET", path, key, b"").outcome(),
            outcome(status, code),
            "{path} {key}"
        );
    }
    let several = br#"{"channels":["room:1","news"],"event":"e"}"#;
    let refused = server.request("POST", "/api/v1/publish", ROOMS_KEY, several);
    assert_eq!(
        refused.outcome(),
        outcome(403, "forbidden"),
        "one forbidden channel refuses all"
    );
    assert_eq!(history(&server, "")["events"].as_array().unwrap().len(), 2);
    let basic = server.request_with("POST", "/api/v1/publish", "Authorization: Basic abc\r\n", good);
    assert_eq!(basic.outcome(), outcome(401, "unauthenticated"));
}

#[test]
fn without_a_key_in_the_configuration_nobody_gets_in() {
    let server = Server::configured("api-none", "", "");
    for key in ["", API_KEY] {
        let answer = server.request("POST", "/api/v1/publish", key, br#"{"channel":"a","event":"e"}"#);
        assert_eq!(answer.outcome(), outcome(401, "unauthenticated"));
        assert!(answer.json()["detail"].as_str().unwrap().contains("[api]"));
    }
}

#[test]
fn bad_input_is_answered_with_its_code_and_changes_nothing() {
    let server = server("api-bad", "", "");
    let long = |count: usize| "x".repeat(count);
    let named = |channel: &str, event: &str| json!({ "channel": channel, "event": event }).to_string();
    let channels: Vec<String> = (0..129).map(|number| format!("room:{number}")).collect();
    let bodies = [
        (String::new(), 400, "invalid_json"),
        ("{".to_owned(), 400, "invalid_json"),
        ("hello".to_owned(), 400, "invalid_json"),
        (r#"{"channel":"room:1","event":"e"} x"#.to_owned(), 400, "invalid_json"),
        (
            r#"{"channel":"room:1","event":"e","data":01}"#.to_owned(),
            400,
            "invalid_json",
        ),
        ("[]".to_owned(), 400, "bad_request"),
        ("null".to_owned(), 400, "bad_request"),
        ("{}".to_owned(), 400, "bad_request"),
        (r#"{"event":"e"}"#.to_owned(), 400, "bad_request"),
        (r#"{"channel":"room:1"}"#.to_owned(), 400, "bad_request"),
        (r#"{"channel":7,"event":"e"}"#.to_owned(), 400, "bad_request"),
        (r#"{"channel":"room:1","event":7}"#.to_owned(), 400, "bad_request"),
        (
            r#"{"channel":"room:1","event":"e","event":"f"}"#.to_owned(),
            400,
            "bad_request",
        ),
        (
            r#"{"channel":"room:1","event":"e","dta":1}"#.to_owned(),
            400,
            "bad_request",
        ),
        (
            r#"{"channel":"room:1","channels":["room:1"],"event":"e"}"#.to_owned(),
            400,
            "bad_request",
        ),
        (r#"{"channels":[],"event":"e"}"#.to_owned(), 400, "bad_request"),
        (
            json!({ "channels": channels, "event": "e" }).to_string(),
            400,
            "too_many_channels",
        ),
        (
            r#"{"channels":["room:1",""],"event":"e"}"#.to_owned(),
            400,
            "invalid_channel",
        ),
        (named("", "e"), 400, "invalid_channel"),
        (named("/", "e"), 400, "invalid_channel"),
        (named("/n,room:1", "e"), 400, "invalid_channel"),
        (named("room:\n", "e"), 400, "invalid_channel"),
        (named(&long(256), "e"), 400, "invalid_channel"),
        (named("room:1", ""), 400, "bad_request"),
        (named("room:1", &long(129)), 400, "bad_request"),
        (named("room:1", "gap"), 400, "bad_request"),
        (named("room:1", "connect"), 400, "bad_request"),
        (named("room:1", "tidings:join"), 400, "bad_request"),
        (
            r#"{"channel":"room:1","event":"e","key":""}"#.to_owned(),
            400,
            "bad_request",
        ),
        (
            json!({ "channel": "room:1", "event": "e", "key": long(129) }).to_string(),
            400,
            "bad_request",
        ),
        (
            r#"{"channel":"room:1","event":"e","data":{"$bytes":"%"}}"#.to_owned(),
            400,
            "bad_request",
        ),
        (named(&long(255), "e"), 200, ""),
        (named("room:2", &long(128)), 200, ""),
        (
            r#"{"channel":"room:2","event":"e","data":{"$bytes":"AAE="}}"#.to_owned(),
            200,
            "",
        ),
    ];
    for (body, status, code) in bodies {
        assert_eq!(server.publish(&body).outcome(), outcome(status, code), "{body}");
    }
    let latin_1 = server.request(
        "POST",
        "/api/v1/publish",
        API_KEY,
        b"{\"channel\":\"room:\xe9\",\"event\":\"e\"}",
    );
    assert_eq!(latin_1.outcome(), outcome(400, "invalid_json"));
    assert_eq!(history(&server, "")["events"], json!([]));
    assert_eq!(server.request("GET", "/readyz", "", b"").status, 200);
}

#[test]
fn a_body_may_be_as_long_as_a_message_and_no_longer() {
    let server = server("api-large", "", "message_bytes = 1000");
    let publish = |bytes: usize| {
        let empty = r#"{"channel":"room:1","event":"e","data":""}"#;
        let data = "x".repeat(bytes - empty.len());
        empty.replace("\"\"", &format!("\"{data}\""))
    };
    assert_eq!(server.publish(&publish(1_000)).outcome(), outcome(200, ""));
    assert_eq!(server.publish(&publish(1_001)).outcome(), outcome(413, "too_large"));
    assert_eq!(server.publish(&publish(1_000_000)).outcome(), outcome(413, "too_large"));

    // A batch is as long as 16 messages, each as long as one.
    let batch = |events: &[String]| {
        let body = format!("{{\"events\":[{}]}}", events.join(","));
        server.request("POST", "/api/v1/batch", API_KEY, body.as_bytes())
    };
    let results = batch(&[publish(1_000), publish(1_001), publish(1_000)]).json();
    let codes: Vec<_> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result.get("code"))
        .collect();
    assert_eq!(codes, [None, Some(&json!("too_large")), None]);
    assert_eq!(batch(&vec![publish(1_000); 16]).outcome(), outcome(413, "too_large"));
    assert_eq!(history(&server, "")["events"].as_array().unwrap().len(), 3);
}

#[test]
fn a_batch_answers_each_event_and_keeps_their_order() {
    let server = server("api-batch", "", "");
    let batch = |body: &Value| server.request("POST", "/api/v1/batch", API_KEY, body.to_string().as_bytes());
    let event = |data: usize| json!({ "channel": "room:1", "event": "e", "data": data });
    let mut keyed = event(2);
    keyed["key"] = json!("k");
    let answer = batch(&json!({ "events": [event(1), { "channel": "" , "event": "e" }, 7, keyed, keyed, event(3)] }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), 6);
    assert_eq!(results[1]["code"], "invalid_channel");
    assert_eq!(results[2]["code"], "bad_request");
    assert_eq!(
        (&results[3]["duplicate"], &results[4]["duplicate"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(results[3]["id"], results[4]["id"]);
    assert_eq!(results[5]["durability"], "process");

    let events: Vec<Value> = (10..1_010).map(event).collect();
    assert_eq!(
        batch(&json!({ "events": events })).json()["results"]
            .as_array()
            .unwrap()
            .len(),
        1_000
    );
    let too_many: Vec<Value> = (0..1_001).map(event).collect();
    assert_eq!(
        batch(&json!({ "events": too_many })).outcome(),
        outcome(413, "too_large")
    );
    assert_eq!(batch(&json!({ "events": [] })).json(), json!({ "results": [] }));
    for (body, code) in [(json!([]), "bad_request"), (json!({ "event": [] }), "bad_request")] {
        assert_eq!(batch(&body).outcome(), outcome(400, code), "{body}");
    }
    let page = history(&server, "?limit=1000");
    let data: Vec<u64> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["data"].as_u64().unwrap())
        .collect();
    assert_eq!(
        data,
        (10..1_010).collect::<Vec<_>>(),
        "the newest thousand, in the order of the batch"
    );
}

#[test]
fn history_is_read_in_pages_both_ways() {
    let server = server("api-pages", "", "");
    let ids: Vec<Value> = (0..7)
        .map(|data| {
            let body = json!({ "channel": "room:1", "event": "e", "data": data }).to_string();
            server.publish(&body).json()["id"].clone()
        })
        .collect();
    let id = |index: usize| ids[index].as_str().unwrap();
    let page = |query: String| {
        let page = history(&server, &query);
        let events = page["events"].as_array().unwrap();
        let data: Vec<u64> = events.iter().map(|event| event["data"].as_u64().unwrap()).collect();
        (data, page["more"].as_bool().unwrap())
    };
    assert_eq!(page(String::new()), ((0..7).collect(), false));
    assert_eq!(page("?limit=3".to_owned()), (vec![4, 5, 6], true));
    assert_eq!(page(format!("?limit=3&before={}", id(4))), (vec![1, 2, 3], true));
    assert_eq!(page(format!("?limit=3&before={}", id(1))), (vec![0], false));
    assert_eq!(page(format!("?limit=3&after={}", id(0))), (vec![1, 2, 3], true));
    assert_eq!(page(format!("?limit=3&after={}", id(3))), (vec![4, 5, 6], false));
    assert_eq!(page(format!("?after={}", id(6))), (vec![], false));
    assert_eq!(page("?limit=1000&unknown=1".to_owned()).0.len(), 7);

    // A channel's name in a path is percent-encoded.
    server.publish(r#"{"channel":"room:a/b c?ä","event":"e"}"#);
    let answer = server.request(
        "GET",
        "/api/v1/channels/room%3Aa%2Fb%20c%3F%C3%A4/history",
        API_KEY,
        b"",
    );
    assert_eq!(answer.json()["events"][0]["channel"], "room:a/b c?ä");
}

#[test]
fn bad_requests_for_history_are_answered_with_their_code() {
    let server = server("api-history-bad", "", "");
    let id = server.publish(r#"{"channel":"room:1","event":"e"}"#).json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (epoch, _) = id.split_once('-').unwrap();
    for (query, code) in [
        ("before=yesterday".to_owned(), "invalid_id"),
        ("after=".to_owned(), "invalid_id"),
        (format!("after={epoch}-01"), "invalid_id"),
        (format!("after={epoch}-99999999999999999999"), "invalid_id"),
        (format!("before={epoch}-999999999"), "invalid_id"),
        ("after=aaaaaaaa-1".to_owned(), "invalid_id"),
        (format!("before={id}&after={id}"), "bad_request"),
        (format!("before={id}&before={id}"), "bad_request"),
        ("limit=0".to_owned(), "bad_request"),
        ("limit=1001".to_owned(), "bad_request"),
        ("limit=-1".to_owned(), "bad_request"),
        ("limit=ten".to_owned(), "bad_request"),
        ("limit=".to_owned(), "bad_request"),
    ] {
        let path = format!("/api/v1/channels/room:1/history?{query}");
        assert_eq!(
            server.request("GET", &path, API_KEY, b"").outcome(),
            outcome(400, code),
            "{query}"
        );
    }
    for (channel, status, code) in [
        ("%FF", 400, "bad_request"),
        ("%2Fn,r", 400, "invalid_channel"),
        ("a%00b", 400, "invalid_channel"),
        (&*"x".repeat(256), 400, "invalid_channel"),
        ("nowhere", 200, ""),
    ] {
        let path = format!("/api/v1/channels/{channel}/history");
        assert_eq!(
            server.request("GET", &path, API_KEY, b"").outcome(),
            outcome(status, code),
            "{channel}"
        );
    }
}

#[test]
fn a_user_reads_the_history_of_what_it_may_subscribe_to() {
    let server = server("api-history-user", "allowed_origins = [\"https://app.example\"]", "");
    server.publish(r#"{"channel":"room:1","event":"e","data":1}"#);
    server.publish(r#"{"channel":"user:ann","event":"e","data":2}"#);
    let (ann, bob) = (server.token("ann", &["room:1"], &[]), server.token("bob", &["*"], &[]));
    let forged = format!("{}x", &ann[..ann.len() - 1]);
    for (channel, token, status, code) in [
        ("room:1", &*ann, 200, ""),
        ("user:ann", &ann, 200, ""),
        ("room:2", &ann, 403, "forbidden"),
        ("user:ann", &bob, 403, "forbidden"),
        ("nowhere", &ann, 403, "forbidden"),
        ("room:1", "", 401, "unauthenticated"),
        ("room:1", "nonsense", 401, "unauthenticated"),
        ("room:1", &forged, 401, "token_signature"),
    ] {
        let path = format!("/api/v1/channels/{channel}/history");
        assert_eq!(
            server.request("GET", &path, token, b"").outcome(),
            outcome(status, code),
            "{channel} {token}"
        );
        let in_query = format!("{path}?access_token={token}");
        if !token.is_empty() {
            assert_eq!(
                server.request("GET", &in_query, "", b"").outcome(),
                outcome(status, code),
                "{channel} {token}"
            );
        }
    }

    // Pages of allowed origins, errors and preflights included; the rest of the API is not for pages.
    let path = "/api/v1/channels/room:1/history";
    let own = format!("Authorization: Bearer {ann}\r\nOrigin: https://app.example\r\n");
    for (headers, status) in [(&*own, 200), ("Origin: https://app.example\r\n", 401)] {
        let answer = server.request_with("GET", path, headers, b"");
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://app.example")
        );
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n";
    let answer = server.request_with("OPTIONS", path, preflight, b"");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-headers")),
        (204, Some("authorization"))
    );
    let foreign = format!("Authorization: Bearer {ann}\r\nOrigin: https://evil.example\r\n");
    let answer = server.request_with("GET", path, &foreign, b"");
    assert_eq!(answer.outcome(), outcome(403, "origin_not_allowed"));
    assert!(answer.header("access-control-allow-origin").is_none());
}

#[test]
fn who_needs_no_token_reads_what_anyone_may() {
    let server = Server::configured("api-anonymous", "", &format!("anonymous = true\n{}", tables()));
    let history = |channel: &str, headers: &str| {
        let path = format!("/api/v1/channels/{channel}/history");
        server.request_with("GET", &path, headers, b"").outcome()
    };
    assert_eq!(history("open:1", ""), outcome(200, ""));
    assert_eq!(history("room:1", ""), outcome(403, "forbidden"));
    // Who tries to say who it is must succeed.
    let unauthenticated = outcome(401, "unauthenticated");
    assert_eq!(history("open:1", "Authorization: Bearer nonsense\r\n"), unauthenticated);
    assert_eq!(history("open:1", "Authorization: nonsense\r\n"), unauthenticated);
}

#[test]
fn channels_are_listed_with_their_subscribers() {
    let server = server("api-channels", "", "");
    assert_eq!(
        server.request("GET", "/api/v1/channels", API_KEY, b"").json(),
        json!({ "channels": [], "more": false })
    );
    let token = server.token("ann", &["room:*"], &[]);
    let subscribers: Vec<_> = [&["room:2", "room:1"][..], &["room:1"], &["room:3"]]
        .into_iter()
        .map(|channels| {
            let mut command = std::process::Command::new(support::BINARY);
            command.arg("subscribe").args(channels).args([
                "--transport",
                "sse",
                "--url",
                &server.url(),
                "--token",
                &token,
            ]);
            let child = command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn();
            support::Process(child.unwrap())
        })
        .collect();
    let page = |query: &str| {
        server
            .request("GET", &format!("/api/v1/channels{query}"), API_KEY, b"")
            .json()
    };
    support::until("all subscribers", || {
        (page("")["channels"].as_array()?.len() == 3).then_some(())
    });
    support::until("both of room:1", || {
        (page("")["channels"][0]["subscribers"] == 2).then_some(())
    });
    let channel = |name: &str, subscribers: usize| json!({ "channel": name, "subscribers": subscribers });
    assert_eq!(
        page("?limit=2"),
        json!({ "channels": [channel("room:1", 2), channel("room:2", 1)], "more": true })
    );
    assert_eq!(
        page("?after=room:2"),
        json!({ "channels": [channel("room:3", 1)], "more": false })
    );
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?after=a&after=b"] {
        let answer = server.request("GET", &format!("/api/v1/channels{query}"), API_KEY, b"");
        assert_eq!(answer.outcome(), outcome(400, "bad_request"), "{query}");
    }
    drop(subscribers);
    support::until("nobody", || page("")["channels"].as_array()?.is_empty().then_some(()));
}
