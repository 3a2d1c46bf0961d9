//! The JSON arrays of events and acks: name and arguments, as sent.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Error;
use crate::json::{RawString, Reader, Skip};

/// What must not be an event's name, since libraries on either side give these a meaning of their own.
const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Whether clients and servers keep this name for themselves.
pub fn is_reserved_event(name: &str) -> bool {
    reserved(name).is_some()
}

fn reserved(name: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|&reserved| reserved == name)
}

/// The payload of an EVENT, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its name; borrowed unless it was sent with escapes.
    pub name: Cow<'a, str>,
    /// The other arguments as sent: JSON values with commas between them, without the brackets; `""` when there is
    /// none.
    pub arguments: &'a str,
}

/// Reads the payload of an EVENT or BINARY_EVENT: an array whose first element is the event's name.
///
/// All of it is checked to be JSON, in one pass and without a tree. A number is a name too, its text as sent.
///
/// # Errors
/// [`Error`] when it is not such an array, or not JSON, or has something behind it; when the name is reserved, or
/// holds half a surrogate pair (arguments may).
///
/// ```
/// let event = tidings_protocol::socketio::event(r#"["move",{"x":1e999},"\ud800"]"#)?;
/// assert_eq!(event.name, "move");
/// assert_eq!(event.arguments, r#"{"x":1e999},"\ud800""#);
/// # Ok::<(), tidings_protocol::socketio::Error>(())
/// ```
pub fn event(data: &str) -> Result<Event<'_>, Error> {
    let mut reader = Reader::new(data);
    array_start(&mut reader)?;
    let name = match reader.peek() {
        Some(b'"') => event_name(&reader.string()?)?,
        Some(b'-' | b'0'..=b'9') => Cow::Borrowed(reader.number()?),
        _ => return Err(Error::EventName),
    };
    let arguments = if reader.take(b',') {
        elements(data, &mut reader)?
    } else if reader.take(b']') {
        ""
    } else {
        return Err(reader.unexpected().into());
    };
    reader.end()?;
    Ok(Event { name, arguments })
}

/// Reads the payload of an ACK or BINARY_ACK: the inside of the array, values with commas between them.
///
/// An absent payload (`""`) is one without arguments, as in the reference.
///
/// # Errors
/// [`Error`] when it is not an array, or not JSON, or has something behind it.
///
/// ```
/// assert_eq!(tidings_protocol::socketio::ack_arguments(r#"[ true, {} ]"#), Ok("true, {}"));
/// ```
pub fn ack_arguments(data: &str) -> Result<&str, Error> {
    if data.is_empty() {
        return Ok("");
    }
    let mut reader = Reader::new(data);
    array_start(&mut reader)?;
    let arguments = if reader.take(b']') {
        ""
    } else {
        elements(data, &mut reader)?
    };
    reader.end()?;
    Ok(arguments)
}

/// Takes `[`.
fn array_start(reader: &mut Reader<'_>) -> Result<(), Error> {
    if reader.take(b'[') {
        Ok(())
    } else {
        Err(Error::Payload("an array"))
    }
}

/// Takes one value at least, and the array's end; the text of the values, without the space around.
fn elements<'a>(data: &'a str, reader: &mut Reader<'_>) -> Result<&'a str, Error> {
    reader.peek();
    let start = reader.at();
    loop {
        reader.value(&mut Skip)?;
        let end = reader.at();
        if reader.take(b']') {
            return Ok(&data[start..end]);
        }
        if !reader.take(b',') {
            return Err(reader.unexpected().into());
        }
    }
}

fn event_name<'a>(string: &RawString<'a>) -> Result<Cow<'a, str>, Error> {
    let name = if string.escaped {
        Cow::Owned(serde_json::from_str(string.raw).map_err(|_| Error::EventName)?)
    } else {
        Cow::Borrowed(&string.raw[1..string.raw.len() - 1])
    };
    match reserved(&name) {
        Some(name) => Err(Error::ReservedEvent(name)),
        None => Ok(name),
    }
}

/// The values of an argument list ([`Event::arguments`], [`ack_arguments`]), each as sent.
///
/// # Errors
/// [`Error`] when they are not JSON values with commas between them, or when there is something behind them. What came
/// from [`event`] or [`ack_arguments`] is never refused.
///
/// ```
/// let values = tidings_protocol::socketio::split_arguments(r#"1, [2,3], "four""#)?;
/// assert_eq!(values.iter().map(|value| value.get()).collect::<Vec<_>>(), ["1", "[2,3]", "\"four\""]);
/// # Ok::<(), tidings_protocol::socketio::Error>(())
/// ```
pub fn split_arguments(arguments: &str) -> Result<Vec<&RawValue>, Error> {
    let mut values = Vec::new();
    let mut reader = Reader::new(arguments);
    if reader.peek().is_none() {
        return Ok(values);
    }
    loop {
        let start = reader.at();
        let mut stream = serde_json::Deserializer::from_str(&arguments[start..]).into_iter();
        let value = stream.next().and_then(Result::ok);
        values.push(value.ok_or(Error::Json { at: start })?);
        reader.skip(stream.byte_offset());
        if reader.peek().is_none() {
            return Ok(values);
        }
        if !reader.take(b',') {
            return Err(reader.unexpected().into());
        }
    }
}

/// How many values an argument list has. It allocates nothing (up to 64 levels of nesting).
///
/// In a text that is no argument list, those before the first fault count.
///
/// ```
/// assert_eq!(tidings_protocol::socketio::count_arguments(r#"1, [2,3], "four""#), 3);
/// ```
pub fn count_arguments(arguments: &str) -> usize {
    let mut reader = Reader::new(arguments);
    let mut count = 0;
    while reader.value(&mut Skip).is_ok() {
        count += 1;
        if !reader.take(b',') {
            break;
        }
    }
    count
}
