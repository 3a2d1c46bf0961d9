//! What is spoken with the servers that play rooms: how to enter a room, to publish there, to get what is published, and
//! to ask; for each protocol.
//!
//! A [`Speaker`] is one connection's side of a protocol. It does no input or output, so the same one is driven by a loop
//! over many connections and by [`enter`], which waits.

mod bare;
mod poll;
mod socketio;
mod stream;
mod tidings;
mod websocket;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub(crate) use self::bare::{Bare, NchanWs};
pub(crate) use self::poll::{NchanPoll, TidingsPoll};
pub(crate) use self::socketio::{SocketIo, TidingsSocketIo};
pub(crate) use self::stream::{NchanSse, TidingsSse};
pub(crate) use self::tidings::TidingsWs;
use crate::link::Link;

/// A client that isn't in its room after so long has failed.
pub(crate) const ENTER_WAIT: Duration = Duration::from_secs(10);

/// What carries a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Sse,
    Poll,
}

/// Which server, and which of its rooms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) room: usize,
    /// What the events there carry.
    pub(crate) data_bytes: usize,
    /// To how many channels a member is subscribed, the room among them.
    pub(crate) channels: usize,
}

/// The way to talk to one kind of server.
pub(crate) trait Protocol: Sync {
    fn transport(&self) -> Transport;

    /// One that enters a room, gets what is published there, and publishes unless there is a [`Self::publisher`].
    fn member(&self, place: Place) -> Box<dyn Speaker>;

    /// One that only publishes, where members can't.
    fn publisher(&self, _: Place) -> Option<Box<dyn Speaker>> {
        None
    }

    /// How to make one whose messages are questions, where the protocol has answers.
    fn asker(&self) -> Option<fn(Place) -> Box<dyn Speaker>> {
        None
    }

    /// Whether a member can be subscribed to more channels than its room.
    fn has_channels(&self) -> bool {
        false
    }

    /// A member that shows the token of the user of that number, where the server is set up to check it.
    fn member_with_token(&self, place: Place, _user: usize) -> Box<dyn Speaker> {
        self.member(place)
    }
}

/// What a connection brings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// The client is in its room: whatever is published from now on reaches it.
    Entered,
    /// The data of an event, or what came in place of one.
    Event(&'a [u8]),
    /// The answer to the client's question, with the data it brings back, if it does.
    Answer(Option<&'a [u8]>),
    /// The server says that it ends the connection.
    Closed,
}

/// What is told of each.
pub(crate) type Listener<'a> = dyn FnMut(Heard<'_>) + 'a;

/// One connection's side of a protocol. What the server must hear is appended to `out`.
pub(crate) trait Speaker {
    /// The first words on a new connection.
    fn begin(&mut self, out: &mut Vec<u8>, listener: &mut Listener<'_>);

    /// Takes whole messages; gives how many bytes they were.
    ///
    /// # Errors
    /// For what the server never says when all is well.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, listener: &mut Listener<'_>) -> Result<usize>;

    /// Publishes, or asks.
    fn say(&mut self, data: &[u8], out: &mut Vec<u8>);
}

/// Takes a connection into its room; from then on neither reads nor writes wait.
pub(crate) fn enter(mut link: Link, speaker: &mut dyn Speaker, scratch: &mut [u8]) -> Result<Link> {
    let deadline = Instant::now() + ENTER_WAIT;
    let (mut out, mut entered, mut too_early) = (Vec::new(), false, false);
    let mut listener = |heard: Heard<'_>| match heard {
        Heard::Entered => entered = true,
        _ => too_early = true,
    };
    speaker.begin(&mut out, &mut listener);
    link.send(&out)?;
    while !entered {
        ensure!(Instant::now() < deadline, "entering took too long");
        out.clear();
        let mut listener = |heard: Heard<'_>| match heard {
            Heard::Entered => entered = true,
            _ => too_early = true,
        };
        let open = link
            .read(scratch, |bytes| speaker.take(bytes, &mut out, &mut listener))
            .context("entering")?;
        ensure!(
            open && !too_early,
            "the server closed, or sent events before the client was in its room"
        );
        link.send(&out)?;
    }
    link.stop_waiting()?;
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::frame::{Opcode, client_frame};

    const DATA_BYTES: usize = 128;

    fn place() -> Place {
        Place {
            address: ([127, 0, 0, 1], 1).into(),
            room: 7,
            data_bytes: DATA_BYTES,
            channels: 1,
        }
    }

    fn data(seq: u64) -> String {
        String::from_utf8(Event { seq, at_ns: 9 }.encode(DATA_BYTES)).expect("text")
    }

    /// A 101 and text messages.
    fn upgraded(messages: &[&str]) -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        for text in messages {
            bytes.extend([0x81, 126]);
            bytes.extend((text.len() as u16).to_be_bytes());
            bytes.extend(text.bytes());
        }
        bytes
    }

    fn said(messages: &[&str]) -> Vec<u8> {
        let frames = messages.iter().map(|text| client_frame(Opcode::Text, text.as_bytes()));
        frames.flatten().collect()
    }

    /// Gives a speaker these bytes under every cut, as a link does. It must find the events 0 and 1 and something that is
    /// none, and say this.
    fn check(make: &dyn Fn() -> Box<dyn Speaker>, bytes: &[u8], said: &[u8]) {
        for cut in 0..=bytes.len() {
            let mut speaker = make();
            let (mut out, mut rest, mut entered, mut events) = (Vec::new(), Vec::new(), 0, Vec::new());
            let mut listener = |heard: Heard<'_>| match heard {
                Heard::Entered => entered += 1,
                Heard::Event(data) => events.push(Event::decode(data, DATA_BYTES).map(|event| event.seq)),
                Heard::Answer(_) | Heard::Closed => panic!("{heard:?}"),
            };
            speaker.begin(&mut out, &mut listener);
            out.clear();
            for part in [&bytes[..cut], &bytes[cut..]] {
                // More than one answer can lie there; each read takes what it may.
                rest.extend_from_slice(part);
                loop {
                    let taken = speaker.take(&rest, &mut out, &mut listener).expect("valid");
                    rest.drain(..taken);
                    if taken == 0 || rest.is_empty() {
                        break;
                    }
                }
            }
            assert!(rest.is_empty(), "cut at {cut}");
            assert_eq!((entered, events), (1, vec![Some(0), Some(1), None]), "cut at {cut}");
            assert_eq!(
                String::from_utf8_lossy(&out),
                String::from_utf8_lossy(said),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn events_are_found_on_websockets() {
        let (zero, one) = (data(0), data(1));
        check(&|| Bare.member(place()), &upgraded(&[&zero, &one, "{}"]), b"");
        check(&|| NchanWs.member(place()), &upgraded(&[&zero, &one, "{}"]), b"");

        let event = |data: &str| format!(r#"42["event",{data}]"#);
        let messages = ["0{}", "40{}", "2", &event(&zero), &event(&one), r#"42["event"]"#];
        check(
            &|| SocketIo.member(place()),
            &upgraded(&messages),
            &said(&[r#"40{"room":"7"}"#, "3"]),
        );

        let event = |data: &str| {
            format!(r#"{{"type":"event","id":"abcdefgh-1","channel":"room:7","event":"event","data":{data},"time":1}}"#)
        };
        let messages = [
            r#"{"type":"welcome","heartbeat_ms":25000}"#,
            r#"{"type":"ok","id":0,"result":{}}"#,
            &event(&zero),
            &event(&one),
            r#"{"type":"gap","channels":["room:7"],"next":"abcdefgh-0"}"#,
        ];
        check(
            &|| TidingsWs.member(place()),
            &upgraded(&messages),
            &said(&[r#"{"type":"subscribe","id":0,"channels":["room:7"]}"#]),
        );
    }

    #[test]
    fn events_are_found_in_streams() {
        let event = |data: &str| {
            format!("id:abcdefgh-1\ndata:{{\"channel\":\"room:7\",\"event\":\"event\",\"data\":{data},\"time\":1}}\n\n")
        };
        let text = format!(
            "retry:1\n\n{}{}event:gap\ndata:{{}}\n\n",
            event(&data(0)),
            event(&data(1))
        );
        let (one, two) = text.split_at(90);
        let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let bytes = [head, &chunk(one), &chunk(two)].concat();
        check(&|| TidingsSse.member(place()), bytes.as_bytes(), b"");

        let event = |data: &str| format!("id: 1:1\ndata: {data}\n\n");
        let events = [event(&data(0)), event(&data(1)), event("{}")].concat();
        let bytes = format!("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n: hi\n\n{events}");
        check(&|| NchanSse.member(place()), bytes.as_bytes(), b"");
    }

    #[test]
    fn who_polls_asks_for_what_comes_next() {
        let answer = |events: &str, next: u64| {
            let body = format!(r#"{{"events":[{events}],"next":"abcdefgh-{next}","gap":false,"gaps":[]}}"#);
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let event =
            |data: &str| format!(r#"{{"id":"abcdefgh-1","channel":"room:7","event":"event","data":{data},"time":1}}"#);
        let both = [event(&data(0)), event(&data(1))].join(",");
        let bytes = [answer("", 3), answer(&both, 5), answer(&event("{}"), 6)].concat();
        let request = |since: u64| {
            format!("GET /poll?channel=room:7&since=abcdefgh-{since} HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
        };
        let requests = [request(3), request(5), request(6)].concat();
        check(&|| TidingsPoll.member(place()), bytes.as_bytes(), requests.as_bytes());

        let answer = |body: &str, etag: u64| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: now\r\nEtag: {etag}\r\n\r\n{body}",
                body.len()
            )
        };
        let request = |etag: u64| {
            format!(
                "GET /poll/7 HTTP/1.1\r\nHost: 127.0.0.1:1\r\nIf-Modified-Since: now\r\nIf-None-Match: {etag}\r\n\r\n"
            )
        };
        let bytes = [answer(&data(0), 0), answer(&data(1), 1), answer("{}", 2)].concat();
        let requests = [request(0), request(1), request(2)].concat();
        check(&|| NchanPoll.member(place()), bytes.as_bytes(), requests.as_bytes());
    }

    #[test]
    fn an_answer_must_be_that_to_the_last_question() {
        let answered = |protocol: &dyn Protocol, greeting: &[&str], answer: &str| {
            let mut speaker = protocol.asker().expect("answers")(place());
            let (mut out, mut heard_answer) = (Vec::new(), None);
            speaker.take(&upgraded(greeting), &mut out, &mut |_| {})?;
            speaker.say(data(0).as_bytes(), &mut out);
            let frame = &upgraded(&[answer])[b"HTTP/1.1 101 Switching Protocols\r\n\r\n".len()..];
            speaker.take(frame, &mut out, &mut |heard| match heard {
                Heard::Answer(answer) => heard_answer = Some(answer.map(<[u8]>::to_vec)),
                heard => panic!("{heard:?}"),
            })?;
            anyhow::Ok(heard_answer)
        };
        let data = data(0);
        let echoed = Some(Some(data.clone().into_bytes()));
        assert_eq!(answered(&Bare, &[], &data).expect("valid"), echoed);
        let answer = |id: u64| format!("43{id}[{data}]");
        assert_eq!(
            answered(&SocketIo, &["0{}", "40{}"], &answer(1)).expect("valid"),
            echoed
        );
        assert_ne!(
            answered(&SocketIo, &["0{}", "40{}"], &answer(2)).expect("valid"),
            echoed
        );
        let welcome = [r#"{"type":"welcome"}"#];
        let answer = |id: u64| format!(r#"{{"type":"ok","id":{id},"result":{{}}}}"#);
        assert_eq!(answered(&TidingsWs, &welcome, &answer(1)).expect("valid"), Some(None));
        assert!(answered(&TidingsWs, &welcome, &answer(2)).is_err());
    }
}
