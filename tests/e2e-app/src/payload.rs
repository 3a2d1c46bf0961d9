//! Arguments that come inside another event's: what is emitted is what came, bytes among it.

use bytes::Bytes;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use tidings::Binary;

/// A list of arguments in which placeholders stand for attachments.
pub(crate) struct Arguments<'a> {
    pub(crate) values: &'a [Value],
    pub(crate) attachments: &'a [Bytes],
}

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        list(self.values, self.attachments, serializer)
    }
}

/// A value with the attachments its placeholders stand for.
struct Filled<'a>(&'a Value, &'a [Bytes]);

impl Filled<'_> {
    fn attachment(&self) -> Option<&Bytes> {
        let placeholder = self.0.as_object()?;
        if placeholder.get("_placeholder") != Some(&Value::Bool(true)) {
            return None;
        }
        let number = placeholder.get("num")?.as_u64()?;
        self.1.get(usize::try_from(number).ok()?)
    }
}

impl Serialize for Filled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(bytes) = self.attachment() {
            return Binary(bytes.clone()).serialize(serializer);
        }
        match self.0 {
            Value::Array(values) => list(values, self.1, serializer),
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, &Filled(value, self.1))?;
                }
                map.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

fn list<S: Serializer>(values: &[Value], attachments: &[Bytes], serializer: S) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(values.len()))?;
    for value in values {
        sequence.serialize_element(&Filled(value, attachments))?;
    }
    sequence.end()
}
