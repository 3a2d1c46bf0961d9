//! Tidings: publishes over the HTTP API or over `/ws`, subscribers on `/ws`.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

use super::{Broker, Publisher, Subscriber};
use crate::frame::{Opcode, client_frame, next_frame};
use crate::http;
use crate::link::Link;
use crate::note::{NOTE_BYTES, number, position};

/// In the configuration of the measured server.
pub(crate) const API_KEY: &str = "bench-api-key-0123456789abcdef-0123456789";
/// The name of every event.
pub(crate) const EVENT: &str = "note";

pub(crate) fn channel_name(channel: usize) -> String {
    format!("bench:{channel}")
}

/// A request to publish on a connection that stays open.
pub(crate) fn api_publish(address: SocketAddr, channel: usize, data: &[u8]) -> Vec<u8> {
    let begin = format!(r#"{{"channel":"{}","event":"{EVENT}","data":"#, channel_name(channel));
    let length = begin.len() + data.len() + 1;
    let mut request = format!(
        "POST /api/v1/publish HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {API_KEY}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{begin}"
    )
    .into_bytes();
    request.extend(data);
    request.push(b'}');
    request
}

/// `POST /api/v1/publish`, one at a time on each connection, as HTTP clients do.
#[derive(Debug)]
pub(crate) struct Api {
    /// What every answer must say.
    pub(crate) durability: &'static str,
}

impl Broker for Api {
    fn pipelines(&self) -> bool {
        false
    }

    fn prepare(&self, _: SocketAddr) -> Result<()> {
        Ok(())
    }

    fn publisher(&self, address: SocketAddr) -> Result<(Link, Box<dyn Publisher>)> {
        let publisher = ApiPublisher {
            address,
            expected: format!(r#""durability":"{}""#, self.durability),
            ticket: 0,
        };
        Ok((Link::connect(address)?, Box::new(publisher)))
    }

    fn subscriber(&self, address: SocketAddr, channel: usize, number: usize) -> Result<(Link, Box<dyn Subscriber>)> {
        Channels.subscriber(address, channel, number)
    }
}

struct ApiPublisher {
    address: SocketAddr,
    expected: String,
    /// Of the one publish in flight.
    ticket: u64,
}

impl Publisher for ApiPublisher {
    fn publish(&mut self, out: &mut Vec<u8>, ticket: u64, channel: usize, data: &[u8]) {
        self.ticket = ticket;
        out.extend(api_publish(self.address, channel, data));
    }

    fn take(&mut self, bytes: &[u8], _: &mut Vec<u8>, on_answer: &mut dyn FnMut(u64)) -> Result<usize> {
        let Some((head, body)) = http::answer(bytes)? else {
            return Ok(0);
        };
        ensure!(
            head.status == 200 && position(body, self.expected.as_bytes()).is_some(),
            "a publish was answered {} {}",
            head.status,
            String::from_utf8_lossy(body)
        );
        on_answer(self.ticket);
        Ok(head.bytes + body.len())
    }
}

/// `/ws`, with as many publishes in flight on one connection as there are.
#[derive(Debug)]
pub(crate) struct Channels;

impl Broker for Channels {
    fn pipelines(&self) -> bool {
        true
    }

    fn prepare(&self, _: SocketAddr) -> Result<()> {
        Ok(())
    }

    fn publisher(&self, address: SocketAddr) -> Result<(Link, Box<dyn Publisher>)> {
        Ok((enter(address)?, Box::new(WsPublisher)))
    }

    fn subscriber(&self, address: SocketAddr, channel: usize, _: usize) -> Result<(Link, Box<dyn Subscriber>)> {
        let mut link = enter(address)?;
        let subscribe = format!(
            r#"{{"type":"subscribe","id":1,"channels":["{}"]}}"#,
            channel_name(channel)
        );
        link.ask(&client_frame(Opcode::Text, subscribe.as_bytes()), |bytes| {
            expect(bytes, br#"{"type":"ok","id":1,"#)
        })?;
        Ok((link, Box::new(WsSubscriber)))
    }
}

/// Upgrades and waits to be welcomed.
fn enter(address: SocketAddr) -> Result<Link> {
    let mut link = Link::connect(address)?;
    link.ask(http::upgrade(address, "/ws").as_bytes(), |bytes| {
        let Some(head) = http::head(bytes)? else {
            return Ok(None);
        };
        ensure!(head.status == 101, "the upgrade was answered {}", head.status);
        Ok(Some((head.bytes, ())))
    })?;
    link.ask(b"", |bytes| expect(bytes, br#"{"type":"welcome""#))?;
    Ok(link)
}

/// One message, which must begin with `prefix`.
fn expect(bytes: &[u8], prefix: &[u8]) -> Result<Option<(usize, ())>> {
    let Some(frame) = next_frame(bytes, 0)? else {
        return Ok(None);
    };
    let payload = &bytes[frame.payload.clone()];
    ensure!(
        payload.starts_with(prefix),
        "got {:?}",
        String::from_utf8_lossy(payload)
    );
    Ok(Some((frame.payload.end, ())))
}

/// Goes through the whole text messages and answers pings.
fn messages(bytes: &[u8], out: &mut Vec<u8>, mut on_text: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut at = 0;
    while let Some(frame) = next_frame(bytes, at)? {
        at = frame.payload.end;
        let payload = &bytes[frame.payload];
        match frame.opcode {
            Opcode::Text => on_text(payload)?,
            Opcode::Ping => out.extend(client_frame(Opcode::Pong, payload)),
            Opcode::Pong => {}
            Opcode::Close => bail!("closed: {:?}", String::from_utf8_lossy(payload)),
        }
    }
    Ok(at)
}

struct WsPublisher;

impl Publisher for WsPublisher {
    fn publish(&mut self, out: &mut Vec<u8>, ticket: u64, channel: usize, data: &[u8]) {
        let name = channel_name(channel);
        let mut text =
            format!(r#"{{"type":"publish","id":{ticket},"channel":"{name}","event":"{EVENT}","data":"#).into_bytes();
        text.extend(data);
        text.push(b'}');
        out.extend(client_frame(Opcode::Text, &text));
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_answer: &mut dyn FnMut(u64)) -> Result<usize> {
        messages(bytes, out, |text| {
            let ticket = text
                .strip_prefix(br#"{"type":"ok","id":"#)
                .and_then(|rest| number(rest.split(|byte| *byte == b',').next()?))
                .with_context(|| format!("a publish was answered {:?}", String::from_utf8_lossy(text)))?;
            on_answer(ticket);
            Ok(())
        })
    }
}

struct WsSubscriber;

impl Subscriber for WsSubscriber {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_data: &mut dyn FnMut(&[u8])) -> Result<usize> {
        const MARK: &[u8] = br#","data":"#;
        messages(bytes, out, |text| {
            let at = position(text, MARK).map_or(text.len(), |at| at + MARK.len());
            // What is not an event is not a note either, and counted as such.
            on_data(text.get(at..at + NOTE_BYTES).unwrap_or(text));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(publisher: &mut dyn Publisher, bytes: &[u8]) -> Result<(usize, Vec<u64>)> {
        let mut answered = Vec::new();
        let taken = publisher.take(bytes, &mut Vec::new(), &mut |ticket| answered.push(ticket))?;
        Ok((taken, answered))
    }

    fn frame(text: &str) -> Vec<u8> {
        [&[0x81, text.len() as u8], text.as_bytes()].concat()
    }

    #[test]
    fn an_answer_of_the_api_must_say_what_was_set() {
        let mut publisher = ApiPublisher {
            address: ([127, 0, 0, 1], 1).into(),
            expected: r#""durability":"power""#.into(),
            ticket: 0,
        };
        let mut request = Vec::new();
        publisher.publish(&mut request, 7, 2, b"{}");
        let body = br#"{"channel":"bench:2","event":"note","data":{}}"#;
        assert!(request.ends_with(&[format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()));

        let answer = |status: u32, durability: &str| {
            let body = format!(r#"{{"id":"abcdefgh-1","duplicate":false,"durability":"{durability}"}}"#);
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        let good = answer(200, "power");
        for cut in 0..good.len() {
            assert_eq!(hear(&mut publisher, &good[..cut]).expect("valid"), (0, vec![]));
        }
        assert_eq!(hear(&mut publisher, &good).expect("valid"), (good.len(), vec![7]));
        assert!(hear(&mut publisher, &answer(200, "process")).is_err());
        assert!(hear(&mut publisher, &answer(503, "power")).is_err());
    }

    #[test]
    fn answers_on_a_websocket_name_their_publish() {
        let answers = [
            frame(r#"{"type":"ok","id":12,"result":{"id":"abcdefgh-2","duplicate":false}}"#),
            frame(r#"{"type":"ok","id":11,"result":{"id":"abcdefgh-1","duplicate":false}}"#),
        ]
        .concat();
        assert_eq!(
            hear(&mut WsPublisher, &answers).expect("valid"),
            (answers.len(), vec![12, 11])
        );
        let refused = frame(r#"{"type":"error","id":1,"code":"forbidden","message":"no"}"#);
        assert!(hear(&mut WsPublisher, &refused).is_err());
    }
}
