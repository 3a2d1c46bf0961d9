//! Socket.IO v5 on Engine.IO v4 on WebSocket. The room is named in the CONNECT's auth.

use anyhow::{Result, bail};

use super::tidings::channel;
use super::websocket::{Messages, WebSocket};
use super::{Heard, Listener, Place, Protocol, Speaker, Transport};

/// With servers that join whoever connects to the room it names, send `event` there, and answer `ask`.
pub(crate) struct SocketIo;

impl Protocol for SocketIo {
    fn transport(&self) -> Transport {
        Transport::WebSocket
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        speaker(place, false)
    }

    fn asker(&self) -> Option<fn(Place) -> Box<dyn Speaker>> {
        Some(|place| speaker(place, true))
    }
}

/// With the `tidings` binary, where a client subscribes by an event. Its rooms are for waiting: it says nothing there.
pub(crate) struct TidingsSocketIo;

impl Protocol for TidingsSocketIo {
    fn transport(&self) -> Transport {
        Transport::WebSocket
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        let packets = Subscriber {
            channel: channel(place),
        };
        Box::new(WebSocket::new(place.address, TARGET.into(), packets))
    }
}

struct Subscriber {
    channel: String,
}

impl Messages for Subscriber {
    fn opened(&mut self, _: &mut Listener<'_>) {}

    fn take(&mut self, text: &[u8], replies: &mut Vec<Vec<u8>>, listener: &mut Listener<'_>) -> Result<()> {
        if text == b"2" {
            replies.push(b"3".to_vec());
        } else if text.starts_with(b"0{") {
            replies.push(b"40".to_vec());
        } else if text.starts_with(b"40{") {
            replies.push(format!(r#"420["subscribe","{}"]"#, self.channel).into_bytes());
        } else if text.starts_with(br#"430[{"ok":true"#) {
            listener(Heard::Entered);
        } else {
            bail!("got {:?} in the handshake", String::from_utf8_lossy(text));
        }
        Ok(())
    }

    fn say(&mut self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

fn speaker(place: Place, asks: bool) -> Box<dyn Speaker> {
    let packets = Packets {
        room: place.room,
        asks,
        questions: 0,
        entered: false,
    };
    Box::new(WebSocket::new(place.address, TARGET.into(), packets))
}

struct Packets {
    room: usize,
    asks: bool,
    /// How many were asked; each one's number is its ack's id.
    questions: u64,
    entered: bool,
}

impl Messages for Packets {
    fn opened(&mut self, _: &mut Listener<'_>) {}

    fn take(&mut self, text: &[u8], replies: &mut Vec<Vec<u8>>, listener: &mut Listener<'_>) -> Result<()> {
        if text == b"2" {
            replies.push(b"3".to_vec());
            return Ok(());
        }
        if !self.entered {
            if text.starts_with(b"0{") {
                replies.push(format!(r#"40{{"room":"{}"}}"#, self.room).into_bytes());
            } else if text.starts_with(b"40{") {
                self.entered = true;
                listener(Heard::Entered);
            } else {
                bail!("got {:?} in the handshake", String::from_utf8_lossy(text));
            }
            return Ok(());
        }
        if self.asks {
            let before = format!("43{}[", self.questions);
            let data = text
                .strip_prefix(before.as_bytes())
                .and_then(|rest| rest.strip_suffix(b"]"));
            listener(Heard::Answer(Some(data.unwrap_or(text))));
        } else {
            let data = text
                .strip_prefix(br#"42["event","#)
                .and_then(|rest| rest.strip_suffix(b"]"));
            listener(Heard::Event(data.unwrap_or(text)));
        }
        Ok(())
    }

    fn say(&mut self, data: &[u8]) -> Vec<u8> {
        let mut packet = if self.asks {
            self.questions += 1;
            format!(r#"42{}["ask","#, self.questions).into_bytes()
        } else {
            br#"42["event","#.to_vec()
        };
        packet.extend(data);
        packet.push(b']');
        packet
    }
}
