//! Any protocol of text messages on WebSocket.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::{Listener, Speaker};
use crate::frame::{Opcode, client_frame, next_frame};
use crate::http;
use crate::protocol::Heard;

/// What the messages mean. `replies` are messages too.
pub(crate) trait Messages {
    /// The connection is a WebSocket now.
    fn opened(&mut self, listener: &mut Listener<'_>);

    /// A message came.
    fn take(&mut self, text: &[u8], replies: &mut Vec<Vec<u8>>, listener: &mut Listener<'_>) -> Result<()>;

    /// The message that publishes, or asks.
    fn say(&mut self, data: &[u8]) -> Vec<u8>;
}

/// The speaker for them.
pub(crate) struct WebSocket<M> {
    address: SocketAddr,
    target: String,
    /// Further lines of the request.
    headers: String,
    upgraded: bool,
    messages: M,
}

impl<M> WebSocket<M> {
    pub(crate) fn new(address: SocketAddr, target: String, messages: M) -> Self {
        Self {
            address,
            target,
            headers: String::new(),
            upgraded: false,
            messages,
        }
    }

    /// The same with a token.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.headers = format!("Authorization: Bearer {token}\r\n");
        self
    }
}

impl<M: Messages> Speaker for WebSocket<M> {
    fn begin(&mut self, out: &mut Vec<u8>, _: &mut Listener<'_>) {
        out.extend(http::upgrade_with(self.address, &self.target, &self.headers).bytes());
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, listener: &mut Listener<'_>) -> Result<usize> {
        let mut at = 0;
        if !self.upgraded {
            let Some(head) = http::head(bytes)? else {
                return Ok(0);
            };
            ensure!(head.status == 101, "the upgrade was answered {}", head.status);
            at = head.bytes;
            self.upgraded = true;
            self.messages.opened(listener);
        }
        let mut replies = Vec::new();
        while let Some(frame) = next_frame(bytes, at)? {
            at = frame.payload.end;
            let payload = &bytes[frame.payload];
            match frame.opcode {
                Opcode::Text => self.messages.take(payload, &mut replies, listener)?,
                Opcode::Ping => out.extend(client_frame(Opcode::Pong, payload)),
                Opcode::Pong => {}
                Opcode::Close => listener(Heard::Closed),
            }
        }
        out.extend(replies.iter().flat_map(|reply| client_frame(Opcode::Text, reply)));
        Ok(at)
    }

    fn say(&mut self, data: &[u8], out: &mut Vec<u8>) {
        out.extend(client_frame(Opcode::Text, &self.messages.say(data)));
    }
}
