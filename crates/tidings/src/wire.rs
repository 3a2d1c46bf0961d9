//! An event as bytes for one kind of wire. It is encoded once for all connections of a shard that speak alike.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use tidings_protocol::websocket::Opcode;
use tidings_protocol::{engineio, json, socketio, sse, websocket};

use crate::channel::Channel;
use crate::event::Event;
use crate::id::{Epoch, EventId};
use crate::limits::{REPLAYED_BYTES_MAX, REPLAYED_ENTRY_BYTES};

/// The name under which a user's devices hear how far it has read.
pub(crate) const READ: &str = "tidings:read";

/// How a connection wants what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    /// Socket.IO packets in WebSocket frames.
    SocketIo,
    /// Socket.IO packets of an HTTP long-polling payload.
    Polling,
    /// JSON in WebSocket frames.
    Json,
    /// Server-sent events, all called `message`.
    Sse,
    /// Server-sent events under their own names.
    SseNamed,
    /// Server-sent events with the data alone.
    SseRaw,
    /// Both.
    SseNamedRaw,
    /// The whole answer to a poll.
    Poll,
}

impl Wire {
    pub(crate) const COUNT: usize = 8;

    /// The server-sent events that a client asked for.
    pub(crate) fn sse(is_named: bool, is_raw: bool) -> Self {
        match (is_named, is_raw) {
            (false, false) => Wire::Sse,
            (true, false) => Wire::SseNamed,
            (false, true) => Wire::SseRaw,
            (true, true) => Wire::SseNamedRaw,
        }
    }
}

/// What a delivered event carries after the arguments that were emitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// Nothing, as in Node.
    #[default]
    None,
    /// The id, which recovery needs. An event without one carries that of `otherwise`, since stock clients take any string at
    /// the end for their place in the log.
    Id { otherwise: u64 },
    /// `{channel, time, user}` and, if it was logged, the id.
    Metadata,
}

impl Envelope {
    /// For what is not logged, when the shard is at `position`.
    pub(crate) fn unlogged(self, position: u64) -> Self {
        match self {
            Envelope::Id { .. } => Envelope::Id { otherwise: position },
            envelope => envelope,
        }
    }
}

/// The encodings of one event, or of several that follow each other, for the subscribers of one channel.
#[derive(Default)]
pub(crate) struct Encodings([Option<Bytes>; Wire::COUNT]);

impl Encodings {
    pub(crate) fn get(&mut self, wire: Wire, encode: impl FnOnce() -> Bytes) -> &Bytes {
        self.0[wire as usize].get_or_insert_with(encode)
    }
}

/// Encodings of events that are no longer new, for the many that catch up at the same time.
#[derive(Default)]
pub(crate) struct Replayed {
    chunks: HashMap<(u64, Wire, Channel), Bytes>,
    bytes: usize,
}

impl Replayed {
    pub(crate) fn get(&mut self, seq: u64, wire: Wire, channel: &Channel, encode: impl FnOnce() -> Bytes) -> Bytes {
        let key = (seq, wire, channel.clone());
        if let Some(chunk) = self.chunks.get(&key) {
            return chunk.clone();
        }
        let chunk = encode();
        if self.bytes > REPLAYED_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes += chunk.len() + REPLAYED_ENTRY_BYTES;
        self.chunks.insert(key, chunk.clone());
        chunk
    }
}

/// An event as that wire has it; with `ack` a Socket.IO packet asks for one.
pub(crate) fn event(
    wire: Wire,
    event: &Event,
    channel: &Channel,
    envelope: Envelope,
    epoch: Epoch,
    ack: Option<u64>,
) -> Bytes {
    match wire {
        Wire::SocketIo | Wire::Polling => packet(wire, event, channel, envelope, epoch, ack),
        _ => plain(wire, event, channel, epoch),
    }
}

/// Events that follow each other, as one chunk. A poll is answered with the first of them.
pub(crate) fn run(wire: Wire, events: &[Arc<Event>], channel: &Channel, envelope: Envelope, epoch: Epoch) -> Bytes {
    let mut encoded = events
        .iter()
        .map(|one| event(wire, one, channel, envelope, epoch, None));
    let first = encoded.next().unwrap_or_default();
    if events.len() < 2 || wire == Wire::Poll {
        return first;
    }
    let mut chunk = Vec::with_capacity((first.len() + 32) * events.len());
    chunk.extend_from_slice(&first);
    for event in encoded {
        if wire == Wire::Polling {
            chunk.push(engineio::RECORD_SEPARATOR);
        }
        chunk.extend_from_slice(&event);
    }
    chunk.into()
}

/// An event for a client without Socket.IO.
fn plain(wire: Wire, event: &Event, channel: &Channel, epoch: Epoch) -> Bytes {
    let message = &event.draft.message;
    let id = (event.seq > 0).then(|| EventId::new(epoch, event.seq).to_string());
    let data = json::data_from_arguments(message.arguments(), &message.attachments);
    let json = json::Event {
        id: id.as_deref(),
        channel: channel.shown(),
        event: &message.name,
        data: &data,
        time: event.time_ms,
        user: event.draft.user.as_deref(),
    };
    let mut out = Vec::with_capacity(128 + data.len());
    match wire {
        Wire::SocketIo | Wire::Polling => {}
        Wire::Json => match own_message(&message.name) {
            Some(kind) => {
                let fields = data.strip_prefix('{').unwrap_or("}");
                out.extend_from_slice(format!("{{\"type\":\"{kind}\",{fields}").as_bytes());
                return websocket::frame(Opcode::Text, &[&out]);
            }
            None => {
                json.ws_event(&mut out);
                return websocket::frame(Opcode::Text, &[&out]);
            }
        },
        // Under its own name, so that a page that wants nothing but events does not see it; it moves no cursor.
        Wire::Sse | Wire::SseNamed | Wire::SseRaw | Wire::SseNamedRaw if &*message.name == READ => {
            sse::write_event(&mut out, None, Some(READ), &data);
        }
        _ if own_message(&message.name).is_some() => {} // only those who can ask hear of presence
        Wire::Sse | Wire::SseNamed | Wire::SseRaw | Wire::SseNamedRaw => {
            let name = matches!(wire, Wire::SseNamed | Wire::SseNamedRaw).then_some(&*message.name);
            if matches!(wire, Wire::SseRaw | Wire::SseNamedRaw) {
                sse::write_event(&mut out, id.as_deref(), name, &data);
            } else {
                let mut envelope = Vec::with_capacity(96 + data.len());
                json.sse_data(&mut envelope);
                let envelope = std::str::from_utf8(&envelope).unwrap_or_default();
                sse::write_event(&mut out, id.as_deref(), name, envelope);
            }
        }
        // What has no id can't be part of an answer that is a cursor.
        Wire::Poll => {
            if let Some(id) = &id {
                let mut events = Vec::with_capacity(128 + data.len());
                json.poll_event(&mut events);
                poll_answer(&mut out, &[&events], id, &[]);
            }
        }
    }
    out.into()
}

/// What no application has published: the types of these messages where JSON is spoken.
fn own_message(name: &str) -> Option<&'static str> {
    match name {
        "tidings:join" => Some("join"),
        "tidings:leave" => Some("leave"),
        READ => Some("read"),
        _ => None,
    }
}

/// The body of a poll's answer: events as JSON, the next cursor, and the channels with a gap.
pub(crate) fn poll_answer(out: &mut Vec<u8>, events: &[&[u8]], next: &str, gaps: &[&str]) {
    out.extend_from_slice(b"{\"events\":[");
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(event);
    }
    let rest = format!(
        "],\"next\":\"{next}\",\"gap\":{},\"gaps\":{}}}",
        !gaps.is_empty(),
        serde_json::json!(gaps)
    );
    out.extend_from_slice(rest.as_bytes());
}

/// An event as an element of a poll's answer; one that was not logged has no id.
pub(crate) fn poll_event(event: &Event, channel: &Channel, epoch: Epoch) -> Vec<u8> {
    let message = &event.draft.message;
    let data = json::data_from_arguments(message.arguments(), &message.attachments);
    let id = (event.seq > 0).then(|| EventId::new(epoch, event.seq).to_string());
    let json = json::Event {
        id: id.as_deref(),
        channel: channel.shown(),
        event: &message.name,
        data: &data,
        time: event.time_ms,
        user: event.draft.user.as_deref(),
    };
    let mut out = Vec::with_capacity(128 + data.len());
    json.poll_event(&mut out);
    out
}

/// An event as a Socket.IO packet, framed.
fn packet(wire: Wire, event: &Event, channel: &Channel, envelope: Envelope, epoch: Epoch, ack: Option<u64>) -> Bytes {
    let message = &event.draft.message;
    let mut packet = Vec::with_capacity(64 + message.arguments.len() + message.name.len());
    let namespace = channel.namespace();
    match envelope {
        Envelope::None => {
            socketio::write_event(
                &mut packet,
                namespace,
                ack,
                message.attachments.len(),
                &message.name,
                message.arguments(),
                &[],
            );
        }
        Envelope::Id { otherwise } => {
            let seq = if event.seq > 0 { event.seq } else { otherwise };
            let id = ack.is_none().then(|| format!("\"{}\"", EventId::new(epoch, seq)));
            socketio::write_event(
                &mut packet,
                namespace,
                ack,
                message.attachments.len(),
                &message.name,
                message.arguments(),
                id.as_deref().as_slice(),
            );
        }
        Envelope::Metadata => {
            let metadata = metadata(event, channel);
            let id = (event.seq > 0).then(|| format!("\"{}\"", EventId::new(epoch, event.seq)));
            let extra: &[&str] = match &id {
                Some(id) => &[&metadata, id],
                None => &[&metadata],
            };
            socketio::write_event(
                &mut packet,
                namespace,
                ack,
                message.attachments.len(),
                &message.name,
                message.arguments(),
                extra,
            );
        }
    }
    frame(wire, &packet, &message.attachments)
}

fn metadata(event: &Event, channel: &Channel) -> String {
    #[derive(serde::Serialize)]
    struct Metadata<'a> {
        channel: &'a str,
        time: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
    }
    let metadata = Metadata {
        channel: channel.shown(),
        time: event.time_ms,
        user: event.draft.user.as_deref(),
    };
    serde_json::to_string(&metadata).unwrap_or_else(|_| "{}".to_owned())
}

/// A Socket.IO packet and its attachments in one chunk, so that nothing can come between them.
pub(crate) fn frame(wire: Wire, packet: &[u8], attachments: &[Bytes]) -> Bytes {
    match wire {
        Wire::SocketIo if attachments.is_empty() => websocket::frame(Opcode::Text, &[b"4", packet]),
        Wire::SocketIo => {
            let mut frames = websocket::frame(Opcode::Text, &[b"4", packet]).to_vec();
            for attachment in attachments {
                websocket::write_frame(&mut frames, Opcode::Binary, attachment);
            }
            frames.into()
        }
        _ => {
            let mut payload = Vec::with_capacity(packet.len() + 1);
            payload.push(b'4');
            payload.extend_from_slice(packet);
            for attachment in attachments {
                payload.push(engineio::RECORD_SEPARATOR);
                payload.extend_from_slice(engineio::encode_binary(attachment).as_bytes());
            }
            payload.into()
        }
    }
}

/// An Engine.IO packet without data, such as a ping.
pub(crate) fn control(wire: Wire, packet: &'static [u8]) -> Bytes {
    match wire {
        Wire::SocketIo => websocket::frame(Opcode::Text, &[packet]),
        _ => Bytes::from_static(packet),
    }
}

/// A chunk of a polling payload, framed anew for the WebSocket that took over.
pub(crate) fn polling_to_websocket(chunk: &[u8]) -> Bytes {
    let mut frames = Vec::with_capacity(chunk.len() + 4);
    // JSON escapes U+001E, so a separator is one.
    for packet in chunk.split(|byte| *byte == engineio::RECORD_SEPARATOR) {
        if packet.first() == Some(&b'b')
            && let Ok(text) = std::str::from_utf8(packet)
            && let Some(Ok(engineio::PayloadPacket::Binary(bytes))) = engineio::decode_payload(text).next()
        {
            websocket::write_frame(&mut frames, Opcode::Binary, &bytes);
        } else {
            websocket::write_frame(&mut frames, Opcode::Text, packet);
        }
    }
    frames.into()
}
