//! How things look in the store: events, what is known of a channel, keys. Numbers that sort are big-endian, others LEB128.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::channel::Channel;
use crate::event::{Draft, Event, Message};

const HAS_USER: u8 = 1;
const HAS_CHANNELS: u8 = 2;
const HAS_EXCEPT: u8 = 4;
const HAS_ATTACHMENTS: u8 = 8;
/// Unix milliseconds in six bytes last until the year 10889.
const TIME_BYTES: usize = 6;

/// The key of an event: all of a channel's lie together, in their order.
pub(super) fn event_key(number: u32, seq: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[4..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// The channel number and the seq of an event's key.
pub(super) fn split_event_key(key: &[u8]) -> Option<(u32, u64)> {
    let (number, seq) = key.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), u64::from_be_bytes(seq.try_into().ok()?)))
}

/// An event as it is stored under one of its channels.
pub(super) fn encode_event(draft: &Draft, time_ms: u64) -> Vec<u8> {
    let message = &draft.message;
    let mut out = Vec::with_capacity(64 + message.name.len() + message.arguments.len());
    let is_single = draft.channels.len() == 1;
    let mut flags = 0;
    for (flag, is_set) in [
        (HAS_USER, draft.user.is_some()),
        (HAS_CHANNELS, !is_single),
        (HAS_EXCEPT, !draft.except.is_empty()),
        (HAS_ATTACHMENTS, !message.attachments.is_empty()),
    ] {
        if is_set {
            flags |= flag;
        }
    }
    out.push(flags);
    out.extend_from_slice(&time_ms.to_le_bytes()[..TIME_BYTES]);
    put_bytes(&mut out, message.name.as_bytes());
    if let Some(user) = &draft.user {
        put_bytes(&mut out, user.as_bytes());
    }
    for (channels, is_set) in [(&draft.channels, !is_single), (&draft.except, !draft.except.is_empty())] {
        if is_set {
            put_number(&mut out, channels.len() as u64);
            for channel in channels {
                put_bytes(&mut out, channel.as_str().as_bytes());
            }
        }
    }
    if !message.attachments.is_empty() {
        put_number(&mut out, message.attachments.len() as u64);
        for attachment in &message.attachments {
            put_bytes(&mut out, attachment);
        }
    }
    out.extend_from_slice(&message.arguments);
    out
}

/// The event that was stored under `channel`; none if the bytes are not those of an event.
pub(super) fn decode_event(channel: &Channel, seq: u64, value: &[u8]) -> Option<Event> {
    let mut input = Reader(value);
    let flags = *input.take(1)?.first()?;
    let time_ms = input.time()?;
    let name = input.text()?;
    let user = (flags & HAS_USER != 0).then(|| input.text());
    let channels = (flags & HAS_CHANNELS != 0).then(|| input.channels());
    let except = (flags & HAS_EXCEPT != 0).then(|| input.channels());
    let mut attachments = Vec::new();
    if flags & HAS_ATTACHMENTS != 0 {
        for _ in 0..input.number()? {
            attachments.push(Bytes::copy_from_slice(input.bytes()?));
        }
    }
    // Everything that hands out the arguments relies on their being text.
    std::str::from_utf8(input.0).ok()?;
    Some(Event {
        seq,
        time_ms,
        draft: Draft {
            channels: match channels {
                Some(channels) => channels?,
                None => SmallVec::from_iter([channel.clone()]),
            },
            except: match except {
                Some(except) => except?,
                None => SmallVec::new(),
            },
            message: Message {
                name,
                arguments: Bytes::copy_from_slice(input.0),
                attachments,
            },
            user: match user {
                Some(user) => Some(user?),
                None => None,
            },
            key: None,
        },
    })
}

/// When a stored event was published.
pub(super) fn event_time(value: &[u8]) -> Option<u64> {
    Reader(value.get(1..)?).time()
}

/// Whether this user published a stored event; nothing if the bytes are not those of an event.
pub(super) fn is_published_by(value: &[u8], user: &str) -> Option<bool> {
    let mut input = Reader(value);
    let flags = *input.take(1)?.first()?;
    if flags & HAS_USER == 0 {
        return Some(false);
    }
    input.take(TIME_BYTES)?;
    let _name = input.bytes()?;
    Some(input.bytes()? == user.as_bytes())
}

/// What is known of a stored channel, beside its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ChannelRecord {
    /// Events that are retained.
    pub(super) count: u64,
    /// The bytes they take in the store.
    pub(super) bytes: u64,
    /// The seq and the time of the newest event, whether or not it is still retained.
    pub(super) last: u64,
    pub(super) last_time_ms: u64,
    /// The highest seq that is no longer retained; 0 when nothing is gone.
    pub(super) trimmed: u64,
    /// Nothing that is retained is older than this.
    pub(super) oldest_time_ms: u64,
}

impl ChannelRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        numbers(&[
            self.count,
            self.bytes,
            self.last,
            self.last_time_ms,
            self.trimmed,
            self.oldest_time_ms,
        ])
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let [count, bytes, last, last_time_ms, trimmed, oldest_time_ms] = parse_numbers(value)?;
        Some(Self {
            count,
            bytes,
            last,
            last_time_ms,
            trimmed,
            oldest_time_ms,
        })
    }
}

/// Several numbers in one value.
pub(super) fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * 5);
    for number in numbers {
        put_number(&mut out, *number);
    }
    out
}

/// The numbers that [`numbers`] wrote, if there are just so many.
pub(super) fn parse_numbers<const N: usize>(value: &[u8]) -> Option<[u64; N]> {
    let mut input = Reader(value);
    let mut out = [0; N];
    for number in &mut out {
        *number = input.number()?;
    }
    input.0.is_empty().then_some(out)
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn time(&mut self) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes[..TIME_BYTES].copy_from_slice(self.take(TIME_BYTES)?);
        Some(u64::from_le_bytes(bytes))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        self.take(count)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Arc::from)
    }

    fn channels(&mut self) -> Option<SmallVec<[Channel; 1]>> {
        let count = self.number()?;
        (0..count).map(|_| self.text().map(Channel::stored)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channels(names: &[String]) -> SmallVec<[Channel; 1]> {
        names
            .iter()
            .map(|name| Channel::stored(Arc::from(name.as_str())))
            .collect()
    }

    proptest! {
        #[test]
        fn an_event_comes_back_as_it_went_in(
            names in prop::collection::vec("[a-z/,]{1,8}", 1..4),
            except in prop::collection::vec("[a-z]{1,8}", 0..3),
            user in prop::option::of("\\PC{1,10}"),
            arguments in "\\PC{0,200}",
            attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..3),
            time_ms in 0_u64..1 << 47,
            seq in any::<u64>(),
        ) {
            let draft = Draft {
                channels: channels(&names),
                except: channels(&except),
                message: Message {
                    name: Arc::from("name"),
                    arguments: Bytes::from(arguments.clone()),
                    attachments: attachments.iter().map(|bytes| Bytes::from(bytes.clone())).collect(),
                },
                user: user.map(Arc::from),
                key: None,
            };
            let value = encode_event(&draft, time_ms);
            let event = decode_event(&draft.channels[0], seq, &value).unwrap();
            prop_assert_eq!((event.seq, event.time_ms, event_time(&value)), (seq, time_ms, Some(time_ms)));
            prop_assert_eq!(&event.draft.channels, &draft.channels);
            prop_assert_eq!(&event.draft.except, &draft.except);
            prop_assert_eq!(&event.draft.user, &draft.user);
            let publisher = draft.user.as_deref();
            prop_assert_eq!(is_published_by(&value, publisher.unwrap_or_default()), Some(publisher.is_some()));
            prop_assert_eq!(is_published_by(&value, "somebody else!"), Some(false));
            prop_assert_eq!(event.draft.message.arguments(), arguments);
            prop_assert_eq!(&event.draft.message.attachments, &draft.message.attachments);
            prop_assert_eq!(split_event_key(&event_key(7, seq)), Some((7, seq)));
        }

        #[test]
        fn bytes_that_are_no_event_are_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_event(&Channel::stored(Arc::from("c")), 1, &bytes);
            let _ = is_published_by(&bytes, "ann");
            let _ = ChannelRecord::decode(&bytes);
        }

        #[test]
        fn numbers_come_back(values in any::<[u64; 6]>()) {
            prop_assert_eq!(parse_numbers(&numbers(&values)), Some(values));
            prop_assert_eq!(parse_numbers::<5>(&numbers(&values)), None);
        }
    }
}
