//! Arguments of events and acks: Rust values to JSON with attachments, and back.

use std::borrow::Cow;
use std::cell::RefCell;

use bytes::Bytes;
use serde::de::{self, DeserializeOwned};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Code, Error, Result};

/// Several arguments instead of one: `emit("move", Args((x, y)))`, or none: `Args(())`. As an extractor, all
/// arguments of an event as a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args<T>(pub T);

/// Bytes in an event, at any depth of a payload: a binary attachment, as `Buffer` or `ArrayBuffer` in JavaScript.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Binary(pub Bytes);

/// The arguments of one event or ack, as they go over the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoded {
    /// JSON values with commas between.
    pub(crate) text: String,
    pub(crate) attachments: Vec<Bytes>,
}

/// What can be emitted: any one value that serde serialises, or several in [`Args`].
///
/// A value without size and content, as `()`, stands for no argument.
pub trait Emit {
    #[doc(hidden)]
    fn encode(&self) -> Result<EncodedArguments>;
}

/// Encoded arguments, for [`Emit`].
#[doc(hidden)]
pub struct EncodedArguments(pub(crate) Encoded);

impl<T: Serialize> Emit for T {
    fn encode(&self) -> Result<EncodedArguments> {
        let mut encoded = to_json(self)?;
        if size_of::<T>() == 0 && encoded.text == "null" {
            encoded.text.clear();
        }
        Ok(EncodedArguments(encoded))
    }
}

impl<T: Serialize> Emit for Args<T> {
    fn encode(&self) -> Result<EncodedArguments> {
        let mut encoded = to_json(&self.0)?;
        match encoded.text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            Some(inside) => encoded.text = inside.to_owned(),
            None if size_of::<T>() == 0 => encoded.text.clear(),
            None => {} // not a tuple: one argument
        }
        Ok(EncodedArguments(encoded))
    }
}

/// One JSON value that passes on as it was written, with the attachments it stands for.
#[derive(Debug, Clone)]
pub struct Raw {
    text: String,
    attachments: Vec<Bytes>,
}

impl Raw {
    /// `attachments` are those of the event that the value came in.
    pub fn new(value: &serde_json::value::RawValue, attachments: &[Bytes]) -> Self {
        Self {
            text: value.get().to_owned(),
            attachments: attachments.to_vec(),
        }
    }
}

impl Raw {
    /// A value written as JSON, in which `{"$bytes":"<base64>"}` stands for bytes: they become attachments, at most
    /// `attachments_max`.
    ///
    /// # Errors
    /// `invalid_json` when it is no JSON, `bad_request` when bytes in it are no base64 or too many.
    pub fn from_json(text: &str, attachments_max: usize) -> Result<Self> {
        let (text, attachments) = tidings_protocol::json::arguments_from_data(text, attachments_max)
            .map_err(|error| Error::with_code(error.code(), error.to_string()))?;
        Ok(Self { text, attachments })
    }

    /// The value as JSON text, in which bytes are `{"$bytes":"<base64>"}`: what [`Raw::from_json`] reads.
    pub fn to_json(&self) -> Cow<'_, str> {
        tidings_protocol::json::data_from_arguments(&self.text, &self.attachments)
    }
}

impl Emit for Raw {
    fn encode(&self) -> Result<EncodedArguments> {
        Ok(EncodedArguments(Encoded {
            text: self.text.clone(),
            attachments: self.attachments.clone(),
        }))
    }
}

pub(crate) fn encode(arguments: &impl Emit) -> Result<Encoded> {
    arguments.encode().map(|encoded| encoded.0)
}

thread_local! {
    /// The attachments of the value that this thread serialises or deserialises right now.
    static ATTACHMENTS: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Makes `attachments` those of the value at hand until dropped.
struct Scope(Option<Vec<Bytes>>);

impl Scope {
    fn enter(attachments: Vec<Bytes>) -> Self {
        Self(ATTACHMENTS.replace(Some(attachments)))
    }

    fn take(&self) -> Vec<Bytes> {
        ATTACHMENTS.with_borrow_mut(|attachments| attachments.as_mut().map(std::mem::take).unwrap_or_default())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        ATTACHMENTS.set(self.0.take());
    }
}

fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Encoded> {
    let scope = Scope::enter(Vec::new());
    let text = serde_json::to_string(value)?;
    Ok(Encoded {
        text,
        attachments: scope.take(),
    })
}

/// The first of `arguments`; `null` where there are none.
pub(crate) fn first<T: DeserializeOwned>(arguments: &str, attachments: &[Bytes]) -> Result<T> {
    let _scope = Scope::enter(attachments.to_vec());
    let arguments = if arguments.is_empty() { "null" } else { arguments };
    // What follows the first value belongs to the other arguments.
    let mut deserializer = serde_json::Deserializer::from_str(arguments);
    T::deserialize(&mut deserializer).map_err(|error| invalid(&error))
}

/// All of `arguments` as a tuple or a list.
pub(crate) fn all<T: DeserializeOwned>(arguments: &str, attachments: &[Bytes]) -> Result<T> {
    let _scope = Scope::enter(attachments.to_vec());
    serde_json::from_str(&format!("[{arguments}]")).map_err(|error| invalid(&error))
}

fn invalid(error: &serde_json::Error) -> Error {
    Error::coded(
        Code::InvalidJson,
        format!("the payload has another shape than expected: {error}"),
    )
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = ATTACHMENTS.with_borrow_mut(|attachments| {
            attachments.as_mut().map(|attachments| {
                attachments.push(self.0.clone());
                attachments.len() - 1
            })
        });
        match number {
            Some(number) => {
                let mut placeholder = serializer.serialize_struct("Binary", 2)?;
                placeholder.serialize_field("_placeholder", &true)?;
                placeholder.serialize_field("num", &number)?;
                placeholder.end()
            }
            None => {
                let mut bytes = serializer.serialize_struct("Binary", 1)?;
                bytes.serialize_field(
                    "$bytes",
                    &base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &self.0),
                )?;
                bytes.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Form {
            #[serde(rename = "_placeholder", default)]
            placeholder: bool,
            num: Option<usize>,
            #[serde(rename = "$bytes")]
            bytes: Option<String>,
        }
        let form = Form::deserialize(deserializer)?;
        if let Some(text) = form.bytes {
            let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text).map_err(de::Error::custom)?;
            return Ok(Binary(bytes.into()));
        }
        let attachment = form.num.filter(|_| form.placeholder).and_then(|number| {
            ATTACHMENTS.with_borrow(|attachments| {
                attachments
                    .as_ref()
                    .and_then(|attachments| attachments.get(number).cloned())
            })
        });
        attachment
            .map(Binary)
            .ok_or_else(|| de::Error::custom("bytes were expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(arguments: &impl Emit) -> String {
        encode(arguments).unwrap().text
    }

    #[test]
    fn arguments_keep_their_number() {
        assert_eq!(text(&()), "");
        assert_eq!(text(&Args(())), "");
        assert_eq!(text(&Args((1, "a"))), r#"1,"a""#);
        assert_eq!(text(&(1, "a")), r#"[1,"a"]"#);
        assert_eq!(text(&None::<u8>), "null");
        assert_eq!(text(&serde_json::Value::Null), "null");
    }

    #[test]
    fn bytes_at_any_depth_become_attachments_and_come_back() {
        let bytes = |text: &'static [u8]| Binary(Bytes::from_static(text));
        let encoded = encode(&Args((bytes(b"a"), vec![(1, bytes(b"b"))]))).unwrap();
        assert_eq!(
            encoded.text,
            r#"{"_placeholder":true,"num":0},[[1,{"_placeholder":true,"num":1}]]"#
        );
        let back: (Binary, Vec<(u8, Binary)>) = all(&encoded.text, &encoded.attachments).unwrap();
        assert_eq!(back, (bytes(b"a"), vec![(1, bytes(b"b"))]));
        assert!(first::<Binary>(&encoded.text, &[]).is_err());
        assert_eq!(serde_json::to_string(&bytes(b"abc")).unwrap(), r#"{"$bytes":"YWJj"}"#);
        assert_eq!(
            serde_json::from_str::<Binary>(r#"{"$bytes":"YWJj"}"#).unwrap(),
            bytes(b"abc")
        );
    }

    #[test]
    fn a_raw_value_is_json_with_its_bytes_in_it() {
        let text = r#"{"a":{"$bytes":"YWJj"},"n":1.50}"#;
        let raw = Raw::from_json(text, 1).unwrap();
        assert_eq!((raw.attachments.len(), &*raw.to_json()), (1, text));
    }

    #[test]
    fn the_first_argument_is_read_without_the_others() {
        assert_eq!(first::<u8>("1,{\"a\":2}", &[]).unwrap(), 1);
        assert_eq!(first::<Option<u8>>("", &[]).unwrap(), None);
        assert_eq!(first::<u8>("\"x\"", &[]).unwrap_err().code(), "invalid_json");
    }
}
