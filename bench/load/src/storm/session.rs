//! A Socket.IO client before its connection is lost: enters a channel, and gets one event there.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use crate::broker::{EVENT, channel_name};
use crate::frame::{Opcode, client_frame, next_frame};
use crate::http;
use crate::link::Link;

/// A client in a channel.
#[derive(Debug)]
pub(crate) struct Session {
    link: Link,
    pid: String,
}

impl Session {
    /// Connects and subscribes.
    pub(crate) fn enter(address: SocketAddr, channel: usize) -> Result<Self> {
        let mut link = Link::connect(address)?;
        let upgrade = http::upgrade(address, "/socket.io/?EIO=4&transport=websocket");
        link.ask(upgrade.as_bytes(), |bytes| {
            let Some(head) = http::head(bytes)? else {
                return Ok(None);
            };
            ensure!(head.status == 101, "the upgrade was answered {}", head.status);
            Ok(Some((head.bytes, ())))
        })?;
        message(&mut link, b"", "0{")?;
        let answer = message(&mut link, b"40", "40{")?;
        let answer: serde_json::Value = serde_json::from_str(&answer[2..])?;
        let pid = answer["pid"].as_str().context("no session to come back to")?.to_owned();
        let subscribe = format!(r#"420["subscribe","{}"]"#, channel_name(channel));
        let answer = message(&mut link, subscribe.as_bytes(), "430[")?;
        ensure!(
            answer.starts_with(r#"430[{"ok":true"#),
            "subscribe was answered {answer}"
        );
        Ok(Self { link, pid })
    }

    /// Waits for the first event, and leaves without a word: the session, and the id of the event.
    pub(crate) fn leave(mut self) -> Result<(String, String)> {
        let event = message(&mut self.link, b"", &format!(r#"42["{EVENT}","#))?;
        let event: serde_json::Value = serde_json::from_str(&event[2..])?;
        let id = event.as_array().and_then(|arguments| arguments.last()?.as_str());
        Ok((self.pid, id.context("an event without an id")?.to_owned()))
    }
}

/// Says something, if anything, and waits for the message that begins with `prefix`; answers pings meanwhile.
fn message(link: &mut Link, say: &[u8], prefix: &str) -> Result<String> {
    let mut said = if say.is_empty() {
        Vec::new()
    } else {
        client_frame(Opcode::Text, say)
    };
    loop {
        let text = link.ask(&said, |bytes| {
            let Some(frame) = next_frame(bytes, 0)? else {
                return Ok(None);
            };
            let text = String::from_utf8_lossy(&bytes[frame.payload.clone()]).into_owned();
            Ok(Some((frame.payload.end, text)))
        })?;
        if text.starts_with(prefix) {
            return Ok(text);
        }
        ensure!(text == "2", "got {text:?} instead of {prefix:?}");
        said = client_frame(Opcode::Text, b"3");
    }
}
