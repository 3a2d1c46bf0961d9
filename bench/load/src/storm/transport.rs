//! A client that comes back: the bytes it sends to be given what it missed, and the notes in what it gets.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};

use crate::broker::{EVENT, channel_name};
use crate::frame::{Opcode, client_frame, next_frame};
use crate::http::{self, Body};
use crate::note::{Note, position};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// `/ws`, which subscribes with `since`.
    Ws,
    /// `/sse` with `Last-Event-ID`.
    Sse,
    /// Socket.IO on WebSocket, which names its session and the last id it has.
    SocketIo,
}

/// What a client was before it lost its connection.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) transport: Transport,
    pub(crate) channel: usize,
    /// The last id it has.
    pub(crate) id: String,
    /// Its Socket.IO session, where it has one.
    pub(crate) session: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Greeting,
    /// Only Socket.IO: asked for the session.
    Returning,
    Open,
}

/// The protocol of one client, which takes what its connection brings.
#[derive(Debug)]
pub(crate) struct Protocol {
    past: Past,
    stage: Stage,
}

impl Protocol {
    pub(crate) fn new(past: Past) -> Self {
        Self {
            past,
            stage: Stage::Head,
        }
    }

    /// What is sent as soon as the connection is open.
    pub(crate) fn request(&self, address: SocketAddr) -> String {
        match self.past.transport {
            Transport::Ws => http::upgrade(address, "/ws"),
            Transport::SocketIo => http::upgrade(address, "/socket.io/?EIO=4&transport=websocket"),
            Transport::Sse => format!(
                "GET /sse?channel={} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\nLast-Event-ID: {}\r\n\r\n",
                channel_name(self.past.channel),
                self.past.id
            ),
        }
    }

    /// Takes whole messages: gives each note, or none for what has no place here, a gap for example, to `on_note`;
    /// appends what the server must hear to `out`.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        on_note: &mut dyn FnMut(Option<Note>),
    ) -> Result<usize> {
        let mut at = 0;
        if self.stage == Stage::Head {
            let Some(head) = http::head(bytes)? else {
                return Ok(0);
            };
            let expected = match self.past.transport {
                Transport::Sse => (200, Stage::Open),
                Transport::Ws | Transport::SocketIo => (101, Stage::Greeting),
            };
            ensure!(
                head.status == expected.0 && (head.status == 101 || head.body == Body::Other),
                "coming back was answered {:?}",
                String::from_utf8_lossy(&bytes[..head.bytes])
            );
            (at, self.stage) = (head.bytes, expected.1);
        }
        if self.past.transport == Transport::Sse {
            let found = |value: &[u8]| on_note(Note::find(value, br#""data":"#));
            return Ok(at + http::each_data(&bytes[at..], found));
        }
        while let Some(frame) = next_frame(bytes, at)? {
            at = frame.payload.end;
            let payload = &bytes[frame.payload];
            match frame.opcode {
                Opcode::Text => self.message(payload, out, on_note)?,
                Opcode::Ping => out.extend(client_frame(Opcode::Pong, payload)),
                Opcode::Pong => {}
                Opcode::Close => bail!("closed: {:?}", String::from_utf8_lossy(payload)),
            }
        }
        Ok(at)
    }

    fn message(&mut self, text: &[u8], out: &mut Vec<u8>, on_note: &mut dyn FnMut(Option<Note>)) -> Result<()> {
        let mut say = |text: String| out.extend(client_frame(Opcode::Text, text.as_bytes()));
        let Past {
            transport,
            channel,
            id,
            session,
        } = &self.past;
        let greeting = || String::from_utf8_lossy(text);
        match (transport, self.stage) {
            (Transport::Ws, Stage::Greeting) => {
                ensure!(text.starts_with(br#"{"type":"welcome""#), "got {:?}", greeting());
                let channel = channel_name(*channel);
                say(format!(
                    r#"{{"type":"subscribe","id":1,"channels":["{channel}"],"since":"{id}"}}"#
                ));
                self.stage = Stage::Open;
            }
            (Transport::Ws, _) if text.starts_with(br#"{"type":"ok","id":1,"#) => {}
            (Transport::Ws, _) => on_note(Note::find(text, br#","data":"#)),
            (_, _) if text == b"2" => say("3".into()),
            (_, Stage::Greeting) => {
                ensure!(text.starts_with(b"0{"), "got {:?}", greeting());
                say(format!(r#"40{{"pid":"{session}","offset":"{id}"}}"#));
                self.stage = Stage::Returning;
            }
            // Events can come before the answer, as from npm's server.
            (_, Stage::Returning) if text.starts_with(b"40{") => {
                // With another session it was not recovered.
                ensure!(
                    position(text, session.as_bytes()).is_some(),
                    "not recovered: {:?}",
                    greeting()
                );
                self.stage = Stage::Open;
            }
            (_, _) => on_note(Note::find(text, format!(r#"42["{EVENT}","#).as_bytes())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(transport: Transport) -> Past {
        Past {
            transport,
            channel: 3,
            id: "abcdefgh-7".into(),
            session: "session-7".into(),
        }
    }

    fn frame(text: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81, 126];
        frame.extend((text.len() as u16).to_be_bytes());
        frame.extend(text);
        frame
    }

    /// Gives a protocol these bytes under a cut, as a link does; what it found and said.
    fn hear(transport: Transport, bytes: &[u8], cut: usize) -> (Vec<Option<Note>>, Vec<u8>) {
        let mut protocol = Protocol::new(past(transport));
        let (mut notes, mut out, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for part in [&bytes[..cut], &bytes[cut..]] {
            rest.extend_from_slice(part);
            let taken = protocol
                .take(&rest, &mut out, &mut |note| notes.push(note))
                .expect("valid");
            rest.drain(..taken);
        }
        assert!(rest.is_empty());
        (notes, out)
    }

    #[test]
    fn notes_are_found_on_every_transport_under_every_cut() {
        let note = Note {
            lane: 3,
            seq: 1,
            at_ns: 5,
        };
        let data = String::from_utf8(note.encode()).expect("text");
        let event = format!(r#"{{"channel":"bench:3","event":"note","data":{data},"time":1}}"#);
        let sse = format!("retry:1\n\nid:abcdefgh-7\n\nid:abcdefgh-8\ndata:{event}\n\nevent:gap\ndata:{{}}\n\n");
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
        let sse = [head, &sse].concat().into_bytes();
        let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
        let ws = [
            &head[..],
            &frame(br#"{"type":"welcome","heartbeat_ms":25000}"#),
            &frame(br#"{"type":"ok","id":1,"result":{}}"#),
            &frame(format!(r#"{{"type":"event","id":"abcdefgh-8",{}"#, &event[1..]).as_bytes()),
            &frame(br#"{"type":"gap","channels":["bench:3"],"next":"abcdefgh-0"}"#),
        ]
        .concat();
        let socketio = [
            &head[..],
            &frame(b"0{}"),
            &frame(br#"40{"sid":"sid","pid":"session-7"}"#),
            &frame(format!(r#"42["note",{data},{{}},"abcdefgh-8"]"#).as_bytes()),
            &frame(b"2"),
            &frame(br#"42["gap",{}]"#),
        ]
        .concat();
        for (transport, bytes, said) in [
            (Transport::Sse, sse, vec![]),
            (
                Transport::Ws,
                ws,
                vec![r#"{"type":"subscribe","id":1,"channels":["bench:3"],"since":"abcdefgh-7"}"#],
            ),
            (
                Transport::SocketIo,
                socketio,
                vec![r#"40{"pid":"session-7","offset":"abcdefgh-7"}"#, "3"],
            ),
        ] {
            let said: Vec<u8> = said
                .iter()
                .flat_map(|text| client_frame(Opcode::Text, text.as_bytes()))
                .collect();
            for cut in 0..=bytes.len() {
                let (notes, out) = hear(transport, &bytes, cut);
                assert_eq!(notes, [Some(note), None], "{transport:?}");
                assert_eq!(out, said, "{transport:?}");
            }
        }
    }

    #[test]
    fn a_session_that_was_not_recovered_is_an_error() {
        let bytes = [
            &b"HTTP/1.1 101 Switching Protocols\r\n\r\n"[..],
            &frame(b"0{}"),
            &frame(br#"40{"sid":"sid","pid":"other"}"#),
        ]
        .concat();
        let mut protocol = Protocol::new(past(Transport::SocketIo));
        assert!(protocol.take(&bytes, &mut Vec::new(), &mut |_| {}).is_err());
    }
}
