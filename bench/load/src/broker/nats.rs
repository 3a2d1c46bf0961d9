//! NATS JetStream: a stream on file for each channel, publishes that are acknowledged, and push consumers.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

use super::{Broker, CHANNELS, KEEP, Publisher, Subscriber};
use crate::link::Link;
use crate::note::{number, position};

const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"bench\",\"version\":\"1\"}\r\n";

/// A NATS server with JetStream, whatever its settings.
#[derive(Debug)]
pub(crate) struct Nats;

impl Broker for Nats {
    fn pipelines(&self) -> bool {
        true
    }

    fn prepare(&self, address: SocketAddr) -> Result<()> {
        let mut link = enter(address)?;
        for channel in 0..CHANNELS {
            let config = format!(
                r#"{{"name":"bench{channel}","subjects":["{}"],"retention":"limits","discard":"old","storage":"file","num_replicas":1,"max_msgs":{KEEP}}}"#,
                subject(channel)
            );
            request(&mut link, &format!("$JS.API.STREAM.CREATE.bench{channel}"), &config)?;
        }
        Ok(())
    }

    fn publisher(&self, address: SocketAddr) -> Result<(Link, Box<dyn Publisher>)> {
        let mut link = enter(address)?;
        link.send(b"SUB answer.* 1\r\n")?;
        Ok((link, Box::new(NatsPublisher)))
    }

    fn subscriber(&self, address: SocketAddr, channel: usize, number: usize) -> Result<(Link, Box<dyn Subscriber>)> {
        let mut link = enter(address)?;
        let deliver = format!("deliver.{number}");
        link.send(format!("SUB {deliver} 2\r\n").as_bytes())?;
        // As the ordered consumers of NATS' own clients, which acknowledge nothing either.
        let config = format!(
            r#"{{"stream_name":"bench{channel}","config":{{"deliver_subject":"{deliver}","deliver_policy":"all","ack_policy":"none","max_deliver":1,"replay_policy":"instant","mem_storage":true,"num_replicas":1}}}}"#
        );
        request(&mut link, &format!("$JS.API.CONSUMER.CREATE.bench{channel}"), &config)?;
        Ok((link, Box::new(NatsSubscriber)))
    }
}

fn subject(channel: usize) -> String {
    format!("bench.{channel}")
}

/// Connects and waits for the answer to a ping.
fn enter(address: SocketAddr) -> Result<Link> {
    let mut link = Link::connect(address)?;
    link.ask(format!("{CONNECT}PING\r\n").as_bytes(), |bytes| {
        let mut pong = false;
        let taken = operations(bytes, &mut Vec::new(), |_, _| Ok(()), &mut pong)?;
        Ok(pong.then_some((taken, ())))
    })?;
    Ok(link)
}

/// Asks JetStream's API, which must not answer with an error.
fn request(link: &mut Link, subject: &str, body: &str) -> Result<()> {
    let question = format!(
        "SUB reply 9\r\nUNSUB 9 1\r\nPUB {subject} reply {}\r\n{body}\r\n",
        body.len()
    );
    let answer = link.ask(question.as_bytes(), |bytes| {
        let mut answer = None;
        let taken = operations(
            bytes,
            &mut Vec::new(),
            |to, payload| {
                if to == b"reply" {
                    answer = Some(String::from_utf8_lossy(payload).into_owned());
                }
                Ok(())
            },
            &mut false,
        )?;
        Ok(answer.map(|answer| (taken, answer)))
    })?;
    ensure!(!answer.contains("\"error\""), "{subject} was answered {answer}");
    Ok(())
}

/// Goes through the whole operations: messages with their subject, pings, which are answered, and pongs.
fn operations(
    bytes: &[u8],
    out: &mut Vec<u8>,
    mut on_message: impl FnMut(&[u8], &[u8]) -> Result<()>,
    pong: &mut bool,
) -> Result<usize> {
    let mut at = 0;
    while let Some(line_bytes) = position(&bytes[at..], b"\r\n") {
        let line = &bytes[at..at + line_bytes];
        let after = at + line_bytes + 2;
        if let Some(rest) = line.strip_prefix(b"MSG ") {
            let mut words = rest.split(|byte| *byte == b' ');
            let subject = words.next().context("a message without a subject")?;
            let length: usize = words
                .next_back()
                .and_then(number)
                .context("a message without a length")?
                .try_into()?;
            let end = after + length + 2;
            if end > bytes.len() {
                break;
            }
            on_message(subject, &bytes[after..after + length])?;
            at = end;
            continue;
        }
        match line {
            b"PING" => out.extend(b"PONG\r\n"),
            b"PONG" => *pong = true,
            b"+OK" => {}
            _ if line.starts_with(b"INFO ") => {}
            _ => bail!("the server says {:?}", String::from_utf8_lossy(line)),
        }
        at = after;
    }
    Ok(at)
}

struct NatsPublisher;

impl Publisher for NatsPublisher {
    fn publish(&mut self, out: &mut Vec<u8>, ticket: u64, channel: usize, data: &[u8]) {
        out.extend(format!("PUB {} answer.{ticket} {}\r\n", subject(channel), data.len()).bytes());
        out.extend(data);
        out.extend(b"\r\n");
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_answer: &mut dyn FnMut(u64)) -> Result<usize> {
        operations(
            bytes,
            out,
            |to, payload| {
                ensure!(
                    payload.starts_with(br#"{"stream":"#),
                    "a publish was answered {:?}",
                    String::from_utf8_lossy(payload)
                );
                let ticket = to.strip_prefix(b"answer.").and_then(number);
                on_answer(ticket.context("an answer to no publish")?);
                Ok(())
            },
            &mut false,
        )
    }
}

struct NatsSubscriber;

impl Subscriber for NatsSubscriber {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_data: &mut dyn FnMut(&[u8])) -> Result<usize> {
        operations(
            bytes,
            out,
            |_, payload| {
                on_data(payload);
                Ok(())
            },
            &mut false,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_messages_are_taken_and_pings_answered() {
        let bytes = b"INFO {}\r\nMSG answer.7 1 5\r\nhello\r\nPING\r\nMSG a 1 reply.to 2\r\n\r\n\r\nPONG\r\n";
        for cut in 0..=bytes.len() {
            let (mut out, mut pong, mut seen) = (Vec::new(), false, Vec::new());
            let taken = operations(
                &bytes[..cut],
                &mut out,
                |to, payload| {
                    seen.push((to.to_vec(), payload.to_vec()));
                    Ok(())
                },
                &mut pong,
            )
            .expect("valid");
            assert!(taken <= cut);
            if cut == bytes.len() {
                let expect = [
                    (b"answer.7".to_vec(), b"hello".to_vec()),
                    (b"a".to_vec(), b"\r\n".to_vec()),
                ];
                assert_eq!((seen.as_slice(), &out[..], pong), (&expect[..], &b"PONG\r\n"[..], true));
            }
        }
        assert!(operations(b"-ERR 'no'\r\n", &mut Vec::new(), |_, _| Ok(()), &mut false).is_err());
    }
}
