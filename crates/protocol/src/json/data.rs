//! `{"$bytes":"<base64>"}` in an event's data, and the placeholders and attachments of Socket.IO's arguments.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::Error;
use super::reader::{Reader, Skip, Unexpected, Visitor, string_text};

/// How many bytes of attachments are written again where placeholders name them again. No client of Socket.IO does that, but a
/// packet of a megabyte could, and would be forty gigabytes of base64.
const REPEATED_BYTES_MAX: usize = 1 << 20;

const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A Socket.IO event's arguments as one JSON value: the argument itself if it is the only one, the array of them if they
/// are several, `null` if there is none.
///
/// `arguments` is a list as in [`socketio::Event::arguments`](crate::socketio::Event::arguments). Each placeholder
/// that stands for one of `attachments` becomes `{"$bytes":"<standard base64>"}`; where there are no attachments, what looks like a
/// placeholder is data, as for Socket.IO. All else is as it was sent, spaces and line breaks between the values too: a writer to whom they
/// matter has to care ([`sse`](crate::sse) does). Bytes that several placeholders name are written for each of them up to a megabyte
/// in all, and behind that once; the further placeholders stay.
///
/// A text that is no such list, which nobody who checked it has, gives `null`.
///
/// ```
/// use tidings_protocol::json::data_from_arguments;
/// assert_eq!(data_from_arguments(r#"{"a":1.50}"#, &[]), r#"{"a":1.50}"#);
/// assert_eq!(data_from_arguments("1, 2", &[]), "[1, 2]");
/// assert_eq!(data_from_arguments("", &[]), "null");
/// let attachments = [bytes::Bytes::from_static(b"abc")];
/// let file = data_from_arguments(r#"[{"_placeholder":true,"num":0}]"#, &attachments);
/// assert_eq!(file, r#"[{"$bytes":"YWJj"}]"#);
/// ```
pub fn data_from_arguments<'a>(arguments: &'a str, attachments: &[Bytes]) -> Cow<'a, str> {
    let arguments = arguments.trim_matches(JSON_SPACE);
    if arguments.is_empty() {
        return Cow::Borrowed("null");
    }
    let mut slots = Slots {
        attachments: attachments.len(),
        key: Key::Other,
        levels: Vec::new(),
        found: Vec::new(),
    };
    // What an application emitted may be of any depth.
    let mut reader = Reader::of_depth(arguments, usize::MAX);
    let mut count = 0;
    loop {
        let read = if attachments.is_empty() {
            reader.value(&mut Skip)
        } else {
            reader.value(&mut slots)
        };
        if read.is_err() {
            return Cow::Borrowed("null");
        }
        count += 1;
        if !reader.take(b',') {
            break;
        }
    }
    if reader.end().is_err() {
        return Cow::Borrowed("null");
    }
    if count == 1 && slots.found.is_empty() {
        return Cow::Borrowed(arguments);
    }
    let mut data = String::with_capacity(arguments.len() + 2 + slots.bytes_base64(attachments));
    if count > 1 {
        data.push('[');
    }
    slots.fill(&mut data, arguments, attachments);
    if count > 1 {
        data.push(']');
    }
    Cow::Owned(data)
}

/// Of the keys of an object, those of a placeholder.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    Other,
    Placeholder,
    Num,
}

/// Finds the placeholders.
struct Slots {
    attachments: usize,
    /// The key whose value is next.
    key: Key,
    /// The objects around, the innermost last.
    levels: Vec<Level>,
    /// In the order of the text; none lies in another.
    found: Vec<Slot>,
}

struct Level {
    start: usize,
    placeholder: bool,
    num: Option<usize>,
}

/// An attachment's place, and which it is.
struct Slot {
    start: usize,
    end: usize,
    num: usize,
}

impl Slots {
    /// A value begins. As in JavaScript, of a key that is there twice the last counts.
    fn note(&mut self, scalar: &str) {
        let key = std::mem::replace(&mut self.key, Key::Other);
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        match key {
            Key::Other => {}
            Key::Placeholder => level.placeholder = scalar == "true",
            Key::Num => level.num = scalar.parse().ok().filter(|num| *num < self.attachments),
        }
    }

    /// How long the attachments are as base64, each once.
    fn bytes_base64(&self, attachments: &[Bytes]) -> usize {
        let most = self.found.len().min(attachments.len());
        let bytes: usize = attachments.iter().take(most).map(Bytes::len).sum();
        bytes.div_ceil(3) * 4 + 16 * most
    }

    fn fill(&self, data: &mut String, arguments: &str, attachments: &[Bytes]) {
        let mut copied = 0;
        let mut written = vec![false; attachments.len()];
        let mut repeated_bytes = 0;
        for slot in &self.found {
            let (Some(bytes), Some(written)) = (attachments.get(slot.num), written.get_mut(slot.num)) else {
                continue;
            };
            if std::mem::replace(written, true) {
                if repeated_bytes + bytes.len() > REPEATED_BYTES_MAX {
                    continue;
                }
                repeated_bytes += bytes.len();
            }
            data.push_str(&arguments[copied..slot.start]);
            data.push_str(r#"{"$bytes":""#);
            STANDARD.encode_string(bytes, data);
            data.push_str(r#""}"#);
            copied = slot.end;
        }
        data.push_str(&arguments[copied..]);
    }
}

impl Visitor for Slots {
    type Error = Unexpected;

    fn open(&mut self, object: bool, at: usize) {
        self.note("");
        if object {
            self.levels.push(Level {
                start: at,
                placeholder: false,
                num: None,
            });
        }
    }

    fn key(&mut self, raw: &str) {
        self.key = match string_text(raw).as_deref() {
            Some("_placeholder") => Key::Placeholder,
            Some("num") => Key::Num,
            _ => Key::Other,
        };
    }

    fn scalar(&mut self, raw: &str) {
        self.note(raw);
    }

    fn close(&mut self, object: bool, end: usize) -> Result<(), Unexpected> {
        if !object {
            return Ok(());
        }
        if let Some(Level {
            start,
            placeholder: true,
            num: Some(num),
        }) = self.levels.pop()
        {
            // What lies in it goes with it.
            while self.found.last().is_some_and(|inner| inner.start > start) {
                self.found.pop();
            }
            self.found.push(Slot { start, end, num });
        }
        Ok(())
    }
}

/// An event's data as the one argument of a Socket.IO event, and its attachments: each object that is exactly
/// `{"$bytes":"<standard base64>"}` becomes a placeholder.
///
/// All else is as it was written. `$bytes` beside other keys, twice, or with anything but a string is data like any other.
///
/// Data with bytes cannot hold an object of the user's own whose `_placeholder` is `true`, since clients of Socket.IO
/// would put an attachment in its place. Data without bytes can: it goes out in a packet without attachments, in which a
/// placeholder means nothing.
///
/// # Errors
/// [`Error`] for what is not one JSON value, for bytes that are not base64 in its standard form (padding included), for more of them
/// than `attachments_max`, and for such an object.
///
/// ```
/// use tidings_protocol::json::{Error, arguments_from_data};
/// let (arguments, attachments) = arguments_from_data(r#"{"$bytes":"YWJj"}"#, 10)?;
/// assert_eq!(arguments, r#"{"_placeholder":true,"num":0}"#);
/// assert_eq!(attachments, ["abc"]);
/// assert_eq!(arguments_from_data(r#"[{"$bytes":"YWJ"}]"#, 10), Err(Error::Base64 { at: 1 }));
/// # Ok::<(), Error>(())
/// ```
pub fn arguments_from_data(data: &str, attachments_max: usize) -> Result<(String, Vec<Bytes>), Error> {
    let mut reader = Reader::new(data);
    reader.peek();
    let start = reader.at();
    let mut objects = BytesObjects {
        data,
        attachments_max,
        last: Last::Other,
        placeholder_key: false,
        placeholder: false,
        arguments: String::new(),
        copied: start,
        attachments: Vec::new(),
    };
    reader.value(&mut objects)?;
    let end = reader.at();
    reader.end()?;
    if objects.placeholder && !objects.attachments.is_empty() {
        return Err(Error::Placeholder);
    }
    objects.arguments.push_str(&data[objects.copied..end]);
    Ok((objects.arguments, objects.attachments))
}

/// What a walk has met last, as far as it may be the beginning of `{"$bytes":"…"}`.
enum Last {
    Other,
    /// The brace of an object, here.
    Brace(usize),
    /// And `"$bytes":` right behind it.
    Key(usize),
    /// And a string; its bytes, if it is base64.
    Text(usize, Option<Bytes>),
}

/// Finds the bytes and writes placeholders for them.
struct BytesObjects<'a> {
    data: &'a str,
    attachments_max: usize,
    last: Last,
    /// Whether the next value is one of a key `_placeholder`.
    placeholder_key: bool,
    /// Whether one of these was `true`.
    placeholder: bool,
    arguments: String,
    /// How much of `data` is in `arguments`.
    copied: usize,
    attachments: Vec<Bytes>,
}

impl Visitor for BytesObjects<'_> {
    type Error = Error;

    fn open(&mut self, object: bool, at: usize) {
        self.placeholder_key = false;
        self.last = if object { Last::Brace(at) } else { Last::Other };
    }

    fn key(&mut self, raw: &str) {
        let key = string_text(raw);
        let key = key.as_deref();
        self.placeholder_key = key == Some("_placeholder");
        self.last = match self.last {
            Last::Brace(start) if key == Some("$bytes") => Last::Key(start),
            _ => Last::Other,
        };
    }

    fn scalar(&mut self, raw: &str) {
        self.placeholder |= self.placeholder_key && raw == "true";
        self.placeholder_key = false;
        self.last = match self.last {
            Last::Key(start) if raw.starts_with('"') => {
                let bytes = string_text(raw).and_then(|text| STANDARD.decode(&*text).ok());
                Last::Text(start, bytes.map(Bytes::from))
            }
            _ => Last::Other,
        };
    }

    fn close(&mut self, _object: bool, end: usize) -> Result<(), Error> {
        let Last::Text(start, bytes) = std::mem::replace(&mut self.last, Last::Other) else {
            return Ok(());
        };
        if self.attachments.len() == self.attachments_max {
            return Err(Error::TooManyAttachments {
                max: self.attachments_max,
            });
        }
        let bytes = bytes.ok_or(Error::Base64 { at: start })?;
        self.arguments.push_str(&self.data[self.copied..start]);
        self.arguments.push_str(r#"{"_placeholder":true,"num":"#);
        self.arguments
            .push_str(itoa::Buffer::new().format(self.attachments.len()));
        self.arguments.push('}');
        self.copied = end;
        self.attachments.push(bytes);
        Ok(())
    }
}
