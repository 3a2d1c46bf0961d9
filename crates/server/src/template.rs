//! Texts with places for what a client sends: `room:{data.roomId}`.
//!
//! `{data.a.b}` is the field `b` in the object `a` in an event's data, `{data}` the data itself, `{user}` the client's `sub`.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use serde_json::value::RawValue;
use tidings::{Error, Result};

/// A parsed template. Made with [`str::parse`], shown as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    User,
    /// The field at a path; the data itself where that is empty.
    Data(Vec<String>),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// `{` without its `}`, or the reverse.
    #[error("`{{` and `}}` must enclose `user` or a field of the data, as in `room:{{data.roomId}}`")]
    Braces,
    /// Something else between them.
    #[error(
        "`{{{0}}}` is nothing that is known; there are `{{user}}`, `{{data}}` and its fields, as in `{{data.roomId}}`"
    )]
    Unknown(String),
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (literal, from) = rest.split_at(at);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let inner = from.strip_prefix('{').ok_or(TemplateError::Braces)?;
            let (name, behind) = inner.split_once('}').ok_or(TemplateError::Braces)?;
            parts.push(place(name)?);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }
}

fn place(name: &str) -> Result<Part, TemplateError> {
    let unknown = || TemplateError::Unknown(name.to_owned());
    match name.split_once('.') {
        None if name == "user" => Ok(Part::User),
        None if name == "data" => Ok(Part::Data(Vec::new())),
        Some(("data", path)) if path.split('.').all(|field| !field.is_empty()) => {
            Ok(Part::Data(path.split('.').map(str::to_owned).collect()))
        }
        _ => Err(unknown()),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Template {
    /// A pattern of all that may come of it.
    pub(crate) fn pattern(&self) -> String {
        let text = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::User | Part::Data(_) => "*".to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The text with something in each place: what may come of it.
    pub(crate) fn sample(&self) -> String {
        let text = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::User | Part::Data(_) => "x".to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// Whether there is no place in it.
    pub(crate) fn is_literal(&self) -> bool {
        matches!(&self.parts[..], [Part::Literal(_)])
    }

    /// The text for this data of this user.
    ///
    /// # Errors
    /// `bad_request` where a field is missing, or is neither a text nor a whole number; `unauthenticated` where there must be a user
    /// and is none.
    pub(crate) fn fill(&self, data: &RawValue, user: Option<&str>) -> Result<String> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => filled.push_str(text),
                Part::User => {
                    filled.push_str(user.ok_or_else(|| Error::unauthenticated("this is for users with a token"))?)
                }
                Part::Data(path) => filled.push_str(&field(data, path)?),
            }
        }
        Ok(filled)
    }
}

/// Only the way to the field is read: other values may hold what can't be read, as half a surrogate pair.
fn field(data: &RawValue, path: &[String]) -> Result<String> {
    let inside = |value: &RawValue, field: &String| -> Option<Box<RawValue>> {
        let mut object: HashMap<String, &RawValue> = serde_json::from_str(value.get()).ok()?;
        object.remove(field).map(ToOwned::to_owned)
    };
    let found = path
        .iter()
        .try_fold(data.to_owned(), |value, field| inside(&value, field));
    // Lists and objects are neither.
    let found = found.filter(|value| !value.get().starts_with(['[', '{']));
    match found.and_then(|value| serde_json::from_str(value.get()).ok()) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string()),
        _ => {
            let name = std::iter::once("data")
                .chain(path.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(".");
            Err(Error::new(format!("`{name}` must be a text or a whole number")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str, data: Value, user: Option<&str>) -> Result<String> {
        let data = serde_json::value::to_raw_value(&data).unwrap();
        template.parse::<Template>().unwrap().fill(&data, user)
    }

    #[test]
    fn the_rest_of_the_data_does_not_matter() {
        let deep = format!("{}1{}", "[".repeat(400), "]".repeat(400));
        for data in [
            r#"{"text":"\ud83d","roomId":7}"#.to_owned(),
            format!(r#"{{"roomId":6,"deep":{deep},"roomId":7}}"#),
        ] {
            let data = RawValue::from_string(data).unwrap();
            let template = "room:{data.roomId}".parse::<Template>().unwrap();
            assert_eq!(template.fill(&data, None).unwrap(), "room:7");
        }
    }

    #[test]
    fn places_are_filled_with_what_is_there() {
        for (template, data, expected) in [
            ("news", json!(null), "news"),
            ("room:{data.roomId}", json!({ "roomId": "7", "x": 1 }), "room:7"),
            ("room:{data.roomId}", json!({ "roomId": 7 }), "room:7"),
            ("room:{data.id}:x", json!({ "id": -7 }), "room:-7:x"),
            (
                "{data.a.b}-{data.c}",
                json!({ "a": { "b": "é" }, "c": u64::MAX }),
                "é-18446744073709551615",
            ),
            ("room:{data}", json!("7"), "room:7"),
            ("user:{user}", json!(null), "user:ann"),
            ("{user}{user}", json!(null), "annann"),
            ("", json!(null), ""),
        ] {
            assert_eq!(filled(template, data, Some("ann")).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (template, data, part) in [
            ("room:{data.roomId}", json!({}), "`data.roomId`"),
            ("room:{data.roomId}", json!(null), "`data.roomId`"),
            ("room:{data.roomId}", json!({ "roomId": null }), "`data.roomId`"),
            ("room:{data.roomId}", json!({ "roomId": "" }), "`data.roomId`"),
            ("room:{data.roomId}", json!({ "roomId": 1.5 }), "`data.roomId`"),
            ("room:{data.roomId}", json!({ "roomId": true }), "`data.roomId`"),
            ("room:{data.roomId}", json!({ "roomId": ["7"] }), "`data.roomId`"),
            ("room:{data.0}", json!(["7"]), "`data.0`"),
            ("room:{data.a.b}", json!({ "a": "b" }), "`data.a.b`"),
            ("{data}", json!({}), "`data`"),
        ] {
            let error = filled(template, data, None).unwrap_err();
            assert_eq!(error.code(), "bad_request");
            assert!(error.message().contains(part), "{template}: {}", error.message());
        }
        assert_eq!(filled("{user}", json!(1), None).unwrap_err().code(), "unauthenticated");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, part) in [
            ("room:{data.roomId", "enclose"),
            ("room:data.roomId}", "enclose"),
            ("room:{}", "`{}`"),
            ("room:{roomId}", "`{roomId}`"),
            ("room:{data.}", "`{data.}`"),
            ("room:{data..x}", "`{data..x}`"),
            ("room:{user.name}", "`{user.name}`"),
            ("room:{{data.x}}", "`{{data.x}`"),
        ] {
            let error = text.parse::<Template>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
