//! `tidings publish` and `tidings subscribe` against a real server, which is killed meanwhile.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may unwrap: its panic is its failure"
)]

mod support;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{Folder, Process, Server, lines_of, run, text, until};

const TRANSPORTS: [&str; 3] = ["ws", "sse", "poll"];

/// `tidings subscribe`, and where it prints.
struct Subscriber {
    process: Process,
    out: PathBuf,
    notes: PathBuf,
}

impl Subscriber {
    fn start(folder: &Folder, name: &str, url: &str, token: &str, arguments: &[&str]) -> Self {
        let (out, notes) = (
            folder.0.join(format!("{name}.out")),
            folder.0.join(format!("{name}.notes")),
        );
        let child = Command::new(support::BINARY)
            .env_clear()
            .env("TIDINGS_TOKEN", token)
            .arg("subscribe")
            .args(arguments)
            .args(["--url", url])
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&notes).unwrap())
            .spawn()
            .unwrap();
        Self {
            process: Process(child),
            out,
            notes,
        }
    }

    /// Waits until it has been connected so many times.
    fn connected(&self, times: usize) {
        until("a connection", || {
            let connected = lines_of(&self.notes)
                .iter()
                .filter(|line| line.starts_with("connected to "))
                .count();
            (connected >= times).then_some(())
        });
    }

    /// The data of what it has printed, once that is so many events.
    fn printed(&self, events: usize) -> Vec<u64> {
        let lines = until("the events", || {
            let lines = lines_of(&self.out);
            (lines.len() >= events).then_some(lines)
        });
        let data = |line: &String| serde_json::from_str::<Value>(line).unwrap()["data"].as_u64().unwrap();
        lines.iter().map(data).collect()
    }

    /// Ends it by a signal; its exit code.
    fn end(mut self, signal: &str) -> Option<i32> {
        let pid = self.process.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.process.0.wait().unwrap().code()
    }
}

fn publish(server: &Server, arguments: &[&str], stdin: &str) -> Output {
    let variables = [
        ("TIDINGS_URL", &*server.url()),
        ("TIDINGS_API_KEY", server.printed("api-key ")),
    ];
    run(&[&["publish"], arguments].concat(), &variables, stdin)
}

#[test]
fn every_event_is_printed_once_and_in_order_though_the_server_is_killed() {
    let mut server = Server::dev("client-kill");
    let folder = Folder::new("client-kill-out");
    let (url, token) = (server.url(), server.printed("token ").to_owned());
    let subscribers: Vec<Subscriber> = TRANSPORTS
        .iter()
        .map(|name| Subscriber::start(&folder, name, &url, &token, &["room:1", "room:2", "--transport", name]))
        .collect();
    for subscriber in &subscribers {
        subscriber.connected(1);
    }
    let mut next = 0;
    for round in 1..=3 {
        for _ in 0..5 {
            let channel = format!("room:{}", 1 + next % 2);
            let output = publish(&server, &[&channel, "e", &next.to_string()], "");
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            next += 1;
        }
        server.kill();
        let failed = publish(&server, &["room:1", "e", "999"], "");
        assert_eq!(failed.status.code(), Some(4));
        assert!(failed.stdout.is_empty());
        let stderr = text(&failed.stderr);
        assert!(stderr.contains(&url) && stderr.contains("can't be reached"), "{stderr}");
        server.start_again();
        for subscriber in &subscribers {
            subscriber.connected(1 + round);
        }
    }
    let output = publish(&server, &["room:1", "e", &next.to_string()], "");
    assert_eq!(output.status.code(), Some(0));
    for (subscriber, name) in subscribers.into_iter().zip(TRANSPORTS) {
        let events = usize::try_from(next + 1).unwrap();
        assert_eq!(subscriber.printed(events), (0..=next).collect::<Vec<_>>(), "{name}");
        let notes = lines_of(&subscriber.notes);
        assert!(
            notes.iter().any(|note| note.starts_with("not connected (")),
            "{notes:?}"
        );
        assert!(!notes.iter().any(|note| note.starts_with("gap")), "{notes:?}");
        let signal = if name == "ws" { "-TERM" } else { "-INT" };
        assert_eq!(subscriber.end(signal), Some(0), "{name}");
    }
}

#[test]
fn since_replays_and_a_foreign_id_is_a_gap() {
    let server = Server::dev("client-since");
    let folder = Folder::new("client-since-out");
    let (url, token) = (server.url(), server.printed("token "));
    let ids: Vec<String> = (0..4)
        .map(|data| {
            let output = publish(&server, &["room:1", "e", &data.to_string()], "");
            let receipt: Value = serde_json::from_slice(&output.stdout).unwrap();
            receipt["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let (epoch, _) = ids[0].split_once('-').unwrap();
    let future = format!("{epoch}-999999999");
    for transport in TRANSPORTS {
        for (case, since, expected, gap) in [
            ("known", &*ids[1], vec![2, 3], false),
            ("foreign", "aaaaaaaa-7", vec![0, 1, 2, 3], true),
            ("future", &*future, vec![0, 1, 2, 3], true),
        ] {
            let name = format!("{transport}-{case}");
            let arguments = ["room:1", "--transport", transport, "--since", since];
            let subscriber = Subscriber::start(&folder, &name, &url, token, &arguments);
            assert_eq!(subscriber.printed(expected.len()), expected, "{name}");
            let notes = lines_of(&subscriber.notes);
            let gaps = notes.iter().filter(|note| note.starts_with("gap in room:1")).count();
            assert_eq!(gaps, usize::from(gap), "{name}: {notes:?}");
        }
    }
}

#[test]
fn a_line_on_stdout_is_an_event_as_it_was_published() {
    let server = Server::dev("client-line");
    let folder = Folder::new("client-line-out");
    let subscriber = Subscriber::start(&folder, "out", &server.url(), server.printed("token "), &["a b", "c"]);
    subscriber.connected(1);
    let output = publish(&server, &["a b", "said", "{\"x\":\n 1.50, \"y\": \"\\u001b\"}"], "");
    let receipt: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert_eq!(
        (&receipt["duplicate"], &receipt["durability"]),
        (&Value::Bool(false), &Value::from("process"))
    );
    let line = until("the event", || lines_of(&subscriber.out).pop());
    assert!(line.contains(r#""data":{"x":  1.50, "y": "\u001b"}"#), "{line}");
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["id"], &event["channel"]), (&receipt["id"], &Value::from("a b")));
    assert_eq!((&event["event"], event.get("user")), (&Value::from("said"), None));
    assert!(event["time"].is_u64());
}

#[test]
fn lines_of_stdin_are_published_one_after_another_and_safely_again() {
    let server = Server::dev("client-stdin");
    let once = |stdin: &str| publish(&server, &["room:1", "e", "-", "--key", "import"], stdin);
    let receipts = |output: &Output| -> Vec<Value> {
        text(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let first = once("1\n\n\"x\"\n");
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let again = once("1\n\n\"x\"\n3");
    let (first, again) = (receipts(&first), receipts(&again));
    assert_eq!((first.len(), again.len()), (2, 3));
    for index in 0..2 {
        assert_eq!(
            (&again[index]["id"], &again[index]["duplicate"]),
            (&first[index]["id"], &Value::Bool(true))
        );
    }
    assert_eq!(again[2]["duplicate"], false);

    let bad = publish(&server, &["room:1", "e", "-"], "5\nsix\n7\n");
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(receipts(&bad).len(), 1, "it ends at the line that can't be");
    assert!(
        text(&bad.stderr).starts_with("line 2: the data is no JSON"),
        "{}",
        text(&bad.stderr)
    );
}

#[test]
fn what_is_refused_is_said_in_one_line_with_a_hint() {
    let server = Server::dev("client-refused");
    let (url, token, key) = (server.url(), server.printed("token "), server.printed("api-key "));
    let check = |arguments: &[&str], variables: &[(&str, &str)], exit: i32, parts: &[&str]| {
        let variables = [&[("TIDINGS_URL", &*url)], variables].concat();
        let output = run(arguments, &variables, "");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{arguments:?}: {part:?} is not in {stderr:?}");
        }
    };
    let keyed = [("TIDINGS_API_KEY", key)];
    check(
        &["publish", "room:1", "gap", "1"],
        &keyed,
        3,
        &["refused: bad_request: ", "reserved"],
    );
    check(&["publish", "/x", "e", "1"], &keyed, 3, &["invalid_channel"]);
    check(
        &["publish", "a", "e", "1", "--api-key", "no"],
        &[],
        3,
        &["unauthenticated", "--api-key"],
    );
    check(
        &["publish", "a", "e", "1"],
        &[("TIDINGS_API_KEY", "")],
        2,
        &["--api-key", "--dev"],
    );
    check(&["publish", "a", "e", "hello"], &keyed, 2, &["no JSON", "'\"hello\"'"]);
    let first = run(&["publish", "a", "e", "1", "--key", "k", "--url", &url], &keyed, "");
    assert_eq!(first.status.code(), Some(0));
    check(
        &["publish", "a", "e", "2", "--key", "k"],
        &keyed,
        3,
        &["key_conflict", "another --key"],
    );
    for transport in TRANSPORTS {
        let subscribe = ["subscribe", "user:bob", "--transport", transport];
        check(
            &subscribe,
            &[("TIDINGS_TOKEN", token)],
            3,
            &["forbidden", "user:bob", "[[channels]]"],
        );
        check(
            &subscribe,
            &[("TIDINGS_TOKEN", "nonsense")],
            3,
            &["unauthenticated", "--token", "tidings token"],
        );
        check(&subscribe, &[], 3, &["unauthenticated", "--token"]);
    }
    check(
        &["subscribe", "/x"],
        &[("TIDINGS_TOKEN", token)],
        3,
        &["invalid_channel"],
    );
}

#[test]
fn where_no_server_is_the_exit_code_is_4() {
    let mut server = Server::dev("client-unreachable");
    let url = server.url();
    server.kill();
    for arguments in [&["subscribe", "a"][..], &["publish", "a", "e", "1", "--api-key", "k"]] {
        let output = run(arguments, &[("TIDINGS_URL", &url)], "");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{stderr}");
        assert!(stderr.contains(&url) && stderr.contains("--url"), "{stderr}");
    }
}

#[test]
fn over_https_the_server_must_show_a_certificate_that_is_vouched_for() {
    let folder = Folder::new("client-tls-files");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = folder.file("cert.pem", &made.cert.pem());
    let key = folder.file("key.pem", &made.signing_key.serialize_pem());
    let tables = format!(
        "[api]\nkey = \"{}\"\n[tls]\ncert = {cert:?}\nkey = {key:?}\n[[channels]]\nmatch = \"*\"\nsubscribe = \"user\"",
        support::API_KEY
    );
    let server = Server::configured("client-tls", "", &tables);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let (url, cert) = (format!("https://localhost:{port}"), cert.to_str().unwrap());
    let publish = |more: &[&str]| {
        let arguments = [&["publish", "a", "e", "7", "--url", &url], more].concat();
        run(&arguments, &[("TIDINGS_API_KEY", support::API_KEY)], "")
    };
    let stranger = publish(&[]);
    assert_eq!(stranger.status.code(), Some(4));
    assert!(
        text(&stranger.stderr).contains("certificate"),
        "{}",
        text(&stranger.stderr)
    );

    let token = server.token("ann", &[], &[]);
    let arguments = |transport| ["a", "--ca", cert, "--transport", transport];
    let start = |transport| Subscriber::start(&folder, transport, &url, &token, &arguments(transport));
    let subscribers = TRANSPORTS.map(start);
    for subscriber in &subscribers {
        subscriber.connected(1);
    }
    let known = publish(&["--ca", cert]);
    assert_eq!(known.status.code(), Some(0), "{}", text(&known.stderr));
    for subscriber in &subscribers {
        assert_eq!(subscriber.printed(1), [7]);
    }
    for (ca, part) in [("/nowhere", "/nowhere"), (key.to_str().unwrap(), "no certificate")] {
        let output = publish(&["--ca", ca]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}
