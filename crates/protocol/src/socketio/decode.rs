//! From the text of a message to the parts of a packet.

use super::{Error, Packet, PacketType};
use crate::engineio::RECORD_SEPARATOR;
use crate::json::{Reader, Skip};

/// Reads a packet that a client sent: `text` is the data of an Engine.IO message.
///
/// The payload of an event or an ack is not looked at yet: [`event`](super::event) and
/// [`ack_arguments`](super::ack_arguments) do that, once it is known that someone wants it. A CONNECT's is checked (an
/// object, or absent), and a DISCONNECT has none. EVENT and ACK without payload are tolerated as the reference
/// tolerates them, with `data` empty; such an event is to be ignored.
///
/// The namespace goes from `/` to the next `,` or, without one, to the end of the text, as in the reference: `0/admin` is whole,
/// and all of `/admin["a"]` is a name. A query in it stays in it. An id on CONNECT or DISCONNECT means nothing.
///
/// # Errors
/// [`Error`] for whatever is not such a packet, for a CONNECT_ERROR, for an id above 64 bits, for a namespace that would
/// break a polling payload, and for a binary packet with
/// no attachments, with more than `attachments_max`, or without payload.
///
/// ```
/// use tidings_protocol::socketio::{PacketType, decode};
/// let packet = decode(r#"51-/files,3["save",{"_placeholder":true,"num":0}]"#, 10)?;
/// assert_eq!(packet.kind, PacketType::BinaryEvent);
/// assert_eq!((packet.namespace, packet.id, packet.attachments), ("/files", Some(3), 1));
/// # Ok::<(), tidings_protocol::socketio::Error>(())
/// ```
pub fn decode(text: &str, attachments_max: usize) -> Result<Packet<'_>, Error> {
    let first = text.chars().next().ok_or(Error::Empty)?;
    let kind = text
        .bytes()
        .next()
        .and_then(PacketType::from_byte)
        .ok_or(Error::UnknownType(first))?;
    let mut rest = &text[1..];
    let mut attachments = 0;
    if kind.is_binary() {
        (attachments, rest) = attachment_count(rest, attachments_max)?;
    }
    let (namespace, rest) = namespace(rest)?;
    let (id, data) = id(rest)?;
    match kind {
        PacketType::Connect if !data.is_empty() => object(data)?,
        PacketType::Disconnect if !data.is_empty() => return Err(Error::Payload("absent")),
        PacketType::ConnectError => return Err(Error::ConnectErrorFromClient),
        PacketType::BinaryEvent | PacketType::BinaryAck if data.is_empty() => {
            return Err(Error::Payload("an array"));
        }
        _ => {}
    }
    Ok(Packet {
        kind,
        namespace,
        id,
        attachments,
        data,
    })
}

/// `<count>-`
fn attachment_count(text: &str, max: usize) -> Result<(usize, &str), Error> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(Error::AttachmentCount)?;
    if digits.is_empty() {
        return Err(Error::AttachmentCount);
    }
    // What overflows is above any limit.
    match digits.parse::<usize>().unwrap_or(usize::MAX) {
        0 => Err(Error::AttachmentCount),
        count if count > max => Err(Error::TooManyAttachments { max }),
        count => Ok((count, rest)),
    }
}

/// `/name,`
fn namespace(text: &str) -> Result<(&str, &str), Error> {
    if !text.starts_with('/') {
        return Ok(("/", text));
    }
    let (namespace, rest) = match memchr::memchr(b',', text.as_bytes()) {
        Some(comma) => (&text[..comma], &text[comma + 1..]),
        None => (text, ""),
    };
    // Only here could it get into a packet, and what is answered may go into a polling payload.
    if namespace.as_bytes().contains(&RECORD_SEPARATOR) {
        return Err(Error::Namespace);
    }
    Ok((namespace, rest))
}

/// The longest run of digits is the id.
fn id(text: &str) -> Result<(Option<u64>, &str), Error> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, text));
    }
    let id = digits.parse().map_err(|_| Error::IdTooLarge)?;
    Ok((Some(id), rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(digits)
}

/// Checks that it is one object and nothing else.
fn object(data: &str) -> Result<(), Error> {
    let mut reader = Reader::new(data);
    let object = reader.peek() == Some(b'{');
    reader.value(&mut Skip)?;
    reader.end()?;
    if object {
        Ok(())
    } else {
        Err(Error::Payload("an object"))
    }
}
