//! Redis Streams: `XADD` with a bounded length, and `XREAD BLOCK` from the last id that came.

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

use super::resp::{Value, command, value};
use super::{Broker, KEEP, Publisher, Subscriber};
use crate::link::Link;

/// At most so many entries a read.
const READ_MAX: &[u8] = b"1000";

/// Redis, whatever its settings.
#[derive(Debug)]
pub(crate) struct Redis;

impl Broker for Redis {
    fn pipelines(&self) -> bool {
        true
    }

    fn prepare(&self, _: SocketAddr) -> Result<()> {
        Ok(())
    }

    fn publisher(&self, address: SocketAddr) -> Result<(Link, Box<dyn Publisher>)> {
        let publisher = RedisPublisher {
            tickets: VecDeque::new(),
        };
        Ok((Link::connect(address)?, Box::new(publisher)))
    }

    fn subscriber(&self, address: SocketAddr, channel: usize, _: usize) -> Result<(Link, Box<dyn Subscriber>)> {
        let mut link = Link::connect(address)?;
        let subscriber = RedisSubscriber {
            key: key(channel),
            last: b"0-0".to_vec(),
        };
        let mut out = Vec::new();
        subscriber.ask(&mut out);
        link.send(&out)?;
        Ok((link, Box::new(subscriber)))
    }
}

fn key(channel: usize) -> Vec<u8> {
    format!("bench:{channel}").into_bytes()
}

struct RedisPublisher {
    /// Redis answers in order.
    tickets: VecDeque<u64>,
}

impl Publisher for RedisPublisher {
    fn publish(&mut self, out: &mut Vec<u8>, ticket: u64, channel: usize, data: &[u8]) {
        self.tickets.push_back(ticket);
        let keep = KEEP.to_string();
        let words = [
            b"XADD",
            &key(channel)[..],
            b"MAXLEN",
            b"~",
            keep.as_bytes(),
            b"*",
            b"d",
            data,
        ];
        command(out, &words);
    }

    fn take(&mut self, bytes: &[u8], _: &mut Vec<u8>, on_answer: &mut dyn FnMut(u64)) -> Result<usize> {
        let mut at = 0;
        while let Some((answer, end)) = value(bytes, at)? {
            ensure!(
                matches!(answer, Value::Text(_)),
                "a publish was answered {:?}",
                String::from_utf8_lossy(&bytes[at..end])
            );
            on_answer(self.tickets.pop_front().context("an answer to no publish")?);
            at = end;
        }
        Ok(at)
    }
}

struct RedisSubscriber {
    key: Vec<u8>,
    /// The id of the last entry that came.
    last: Vec<u8>,
}

impl RedisSubscriber {
    fn ask(&self, out: &mut Vec<u8>) {
        command(
            out,
            &[
                b"XREAD", b"COUNT", READ_MAX, b"BLOCK", b"0", b"STREAMS", &self.key, &self.last,
            ],
        );
    }
}

impl Subscriber for RedisSubscriber {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_data: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let Some((answer, end)) = value(bytes, 0)? else {
            return Ok(0);
        };
        // [[key, [[id, [field, data]], …]]]
        let Value::List(streams) = answer else {
            bail!("XREAD was answered {:?}", String::from_utf8_lossy(&bytes[..end]));
        };
        let [Value::List(stream)] = &streams[..] else {
            bail!("XREAD answered {} streams", streams.len());
        };
        let [_, Value::List(entries)] = &stream[..] else {
            bail!("a stream without entries");
        };
        for entry in entries {
            let Value::List(entry) = entry else {
                bail!("not an entry");
            };
            let [Value::Text(id), Value::List(fields)] = &entry[..] else {
                bail!("not an entry");
            };
            let [_, Value::Text(data)] = &fields[..] else {
                bail!("{} fields in an entry", fields.len());
            };
            on_data(&bytes[data.clone()]);
            self.last.clear();
            self.last.extend_from_slice(&bytes[id.clone()]);
        }
        self.ask(out);
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_the_next_are_asked_for() {
        let mut answer = b"*1\r\n*2\r\n$7\r\nbench:0\r\n*2\r\n".to_vec();
        for (id, data) in [("1-0", "one"), ("1-1", "two")] {
            answer.extend(format!("*2\r\n$3\r\n{id}\r\n*2\r\n$1\r\nd\r\n$3\r\n{data}\r\n").bytes());
        }
        for cut in 0..=answer.len() {
            let mut subscriber = RedisSubscriber {
                key: key(0),
                last: b"0-0".to_vec(),
            };
            let (mut out, mut seen) = (Vec::new(), Vec::new());
            let taken = subscriber
                .take(&answer[..cut], &mut out, &mut |data| seen.push(data.to_vec()))
                .expect("valid");
            if cut < answer.len() {
                assert_eq!((taken, out.len(), seen.len()), (0, 0, 0));
            } else {
                assert_eq!((taken, seen), (cut, vec![b"one".to_vec(), b"two".to_vec()]));
                assert!(out.ends_with(b"$7\r\nbench:0\r\n$3\r\n1-1\r\n"));
            }
        }
    }

    #[test]
    fn a_refused_publish_is_an_error() {
        let mut publisher = RedisPublisher {
            tickets: VecDeque::new(),
        };
        let mut out = Vec::new();
        publisher.publish(&mut out, 3, 0, b"data");
        publisher.publish(&mut out, 4, 0, b"data");
        let mut answered = Vec::new();
        let mut hear = |bytes: &[u8]| publisher.take(bytes, &mut Vec::new(), &mut |ticket| answered.push(ticket));
        assert_eq!(hear(b"$3\r\n1-0\r\n").expect("valid"), 9);
        assert!(hear(b"-ERR no\r\n").is_err());
        assert_eq!(answered, [3]);
    }
}
