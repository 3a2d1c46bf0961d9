//! `data`: what `serve` says when the store can't be used, and what `--dev` keeps there.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may unwrap: its panic is its failure"
)]

mod support;

use support::{Folder, Server, run, text};

const KEY: (&str, &str) = ("TIDINGS_AUTH__HS256", support::TOKEN_KEY);

/// `serve` with a folder that can't be a store's: exit code 1, nothing on stdout, and this on stderr.
#[track_caller]
fn refused(data: &str, parts: &[&str]) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", data];
    let output = run(&arguments, &[KEY, ("TIDINGS_ADMIN__LISTEN", "off")], "");
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty());
    for part in parts {
        assert!(stderr.contains(part), "{part:?} is not in {stderr:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_is_named_with_a_remedy() {
    let folder = Folder::new("store-refused");
    let file = folder.file("file", "");
    refused(file.to_str().unwrap(), &["file", "folder"]);

    let server = Server::configured("store-in-use", "", "");
    refused(server.data().to_str().unwrap(), &["in use by another process"]);

    let newer = folder.0.join("newer");
    std::fs::create_dir_all(newer.join("store")).unwrap();
    std::fs::write(newer.join("store/format"), "tidings store, format 9999\n").unwrap();
    refused(newer.to_str().unwrap(), &["9999", "newer"]);
}

#[test]
fn dev_keeps_its_keys_and_its_history_in_data() {
    let mut server = Server::dev("store-dev");
    let (token, key) = (
        server.printed("token ").to_owned(),
        server.printed("api-key ").to_owned(),
    );
    let body = br#"{"channel":"room:1","event":"e","data":1}"#;
    let published = server.request("POST", "/api/v1/publish", &key, body);
    assert_eq!(published.json()["durability"], "process", "{published:?}");
    server.kill();
    server.start_again();
    assert_eq!(server.printed("api-key "), key);
    // The token of before is as good as the new one.
    let history = server.request("GET", "/api/v1/channels/room:1/history", &token, b"");
    assert_eq!(history.json()["events"][0]["id"], published.json()["id"]);
}
