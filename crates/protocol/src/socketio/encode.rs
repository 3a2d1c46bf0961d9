//! The packets that a server sends, appended to a buffer.
//!
//! Without Engine.IO's leading `4`. JSON that is given raw is copied as it is: it is the caller's word that it is well-formed.

use super::PacketType;
use crate::json::write_string as string;

/// Appends the yes to a CONNECT: `0[/namespace,]{"sid":"…"}`, with `"pid":"…"` where the session can be recovered.
///
/// ```
/// let mut out = Vec::new();
/// tidings_protocol::socketio::write_connect(&mut out, "/chat", "x1", None);
/// assert_eq!(out, br#"0/chat,{"sid":"x1"}"#);
/// ```
pub fn write_connect(out: &mut Vec<u8>, namespace: &str, sid: &str, pid: Option<&str>) {
    head(out, PacketType::Connect, 0, namespace, None);
    out.extend_from_slice(br#"{"sid":"#);
    string(out, sid);
    if let Some(pid) = pid {
        out.extend_from_slice(br#","pid":"#);
        string(out, pid);
    }
    out.push(b'}');
}

/// Appends the no to a CONNECT: `4[/namespace,]{"message":"…"}`, with `"data":…` (raw JSON) where there is more to say.
///
/// ```
/// let mut out = Vec::new();
/// tidings_protocol::socketio::write_connect_error(&mut out, "/", "no", Some(r#"{"code":"forbidden"}"#));
/// assert_eq!(out, br#"4{"message":"no","data":{"code":"forbidden"}}"#);
/// ```
pub fn write_connect_error(out: &mut Vec<u8>, namespace: &str, message: &str, data: Option<&str>) {
    head(out, PacketType::ConnectError, 0, namespace, None);
    out.extend_from_slice(br#"{"message":"#);
    string(out, message);
    if let Some(data) = data {
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data.as_bytes());
    }
    out.push(b'}');
}

/// Appends `1[/namespace,]`: the server puts the socket out of the namespace.
///
/// ```
/// let mut out = Vec::new();
/// tidings_protocol::socketio::write_disconnect(&mut out, "/chat");
/// assert_eq!(out, b"1/chat,");
/// ```
pub fn write_disconnect(out: &mut Vec<u8>, namespace: &str) {
    head(out, PacketType::Disconnect, 0, namespace, None);
}

/// Appends an EVENT, or with attachments a BINARY_EVENT, which the attachments have to follow.
///
/// `arguments` is a list as in [`Event::arguments`](super::Event::arguments), and each of `extra` a value of raw JSON
/// to come behind it, such as the offset of recovery.
///
/// ```
/// let mut out = Vec::new();
/// tidings_protocol::socketio::write_event(&mut out, "/chat", Some(7), 0, "say", r#""hi",1"#, &[r#""id""#]);
/// assert_eq!(out, br#"2/chat,7["say","hi",1,"id"]"#);
/// ```
pub fn write_event(
    out: &mut Vec<u8>,
    namespace: &str,
    id: Option<u64>,
    attachments: usize,
    name: &str,
    arguments: &str,
    extra: &[&str],
) {
    let kind = match attachments {
        0 => PacketType::Event,
        _ => PacketType::BinaryEvent,
    };
    head(out, kind, attachments, namespace, id);
    out.push(b'[');
    string(out, name);
    for &argument in [arguments].iter().filter(|list| !list.is_empty()).chain(extra) {
        out.push(b',');
        out.extend_from_slice(argument.as_bytes());
    }
    out.push(b']');
}

/// Appends an ACK, or with attachments a BINARY_ACK, which the attachments have to follow.
///
/// ```
/// let mut out = Vec::new();
/// tidings_protocol::socketio::write_ack(&mut out, "/", 12, 0, "true");
/// assert_eq!(out, b"312[true]");
/// ```
pub fn write_ack(out: &mut Vec<u8>, namespace: &str, id: u64, attachments: usize, arguments: &str) {
    let kind = match attachments {
        0 => PacketType::Ack,
        _ => PacketType::BinaryAck,
    };
    head(out, kind, attachments, namespace, Some(id));
    out.push(b'[');
    out.extend_from_slice(arguments.as_bytes());
    out.push(b']');
}

/// `<type>[<attachments>-][<namespace>,][<id>]`
fn head(out: &mut Vec<u8>, kind: PacketType, attachments: usize, namespace: &str, id: Option<u64>) {
    let mut digits = itoa::Buffer::new();
    out.push(kind.as_byte());
    if kind.is_binary() {
        out.extend_from_slice(digits.format(attachments).as_bytes());
        out.push(b'-');
    }
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        out.extend_from_slice(digits.format(id).as_bytes());
    }
}
