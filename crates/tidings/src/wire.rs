//! An event as bytes for one kind of wire. It is encoded once for all connections of a shard that speak alike.

use bytes::Bytes;
use tidings_protocol::websocket::Opcode;
use tidings_protocol::{engineio, socketio, websocket};

use crate::channel::Channel;
use crate::connection::Transport;
use crate::event::Event;
use crate::id::{Epoch, EventId};

/// The framing a connection wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// WebSocket frames.
    WebSocket,
    /// Packets of an HTTP long-polling payload.
    Polling,
}

impl Wire {
    pub(crate) const COUNT: usize = 2;

    pub(crate) fn of(transport: &Transport) -> Self {
        match transport {
            Transport::WebSocket(_) => Wire::WebSocket,
            Transport::Polling(_) => Wire::Polling,
        }
    }
}

/// What a delivered event carries after the arguments that were emitted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// Nothing, as in Node.
    #[default]
    None,
    /// `{channel, time, user}` and, if it was logged, the id.
    Metadata,
}

/// The encodings of one event for the subscribers of one channel.
#[derive(Default)]
pub(crate) struct Encodings([Option<Bytes>; Wire::COUNT]);

impl Encodings {
    pub(crate) fn get(&mut self, wire: Wire, encode: impl FnOnce() -> Bytes) -> &Bytes {
        self.0[wire as usize].get_or_insert_with(encode)
    }
}

/// An event as a Socket.IO packet, framed; with `ack` it asks for one.
pub(crate) fn event(
    wire: Wire,
    event: &Event,
    channel: &Channel,
    envelope: Envelope,
    epoch: Epoch,
    ack: Option<u64>,
) -> Bytes {
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
        channel: channel.room_name().unwrap_or(channel.as_str()),
        time: event.time_ms,
        user: event.draft.user.as_deref(),
    };
    serde_json::to_string(&metadata).unwrap_or_else(|_| "{}".to_owned())
}

/// A Socket.IO packet and its attachments in one chunk, so that nothing can come between them.
pub(crate) fn frame(wire: Wire, packet: &[u8], attachments: &[Bytes]) -> Bytes {
    match wire {
        Wire::WebSocket if attachments.is_empty() => websocket::frame(Opcode::Text, &[b"4", packet]),
        Wire::WebSocket => {
            let mut frames = websocket::frame(Opcode::Text, &[b"4", packet]).to_vec();
            for attachment in attachments {
                websocket::write_frame(&mut frames, Opcode::Binary, attachment);
            }
            frames.into()
        }
        Wire::Polling => {
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
        Wire::WebSocket => websocket::frame(Opcode::Text, &[packet]),
        Wire::Polling => Bytes::from_static(packet),
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
