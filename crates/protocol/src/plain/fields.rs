//! The members of the one object that a message is.

use std::borrow::Cow;

use super::{REQUEST_ID_BYTES_MAX, RequestId};
use crate::json::{DEPTH_MAX, Reader, Skip, Unexpected, string_text};

/// More than any message has, so that the names of a million are not kept.
const FIELDS_MAX: usize = 16;

/// What is wrong: a code and a message.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self {
            code: "bad_request",
            message: message.into(),
        }
    }
}

impl From<Unexpected> for Problem {
    fn from(Unexpected(at): Unexpected) -> Self {
        Self {
            code: "invalid_json",
            message: format!("the message is not JSON, or is nested deeper than {DEPTH_MAX} levels, at byte {at}"),
        }
    }
}

/// Names with their raw values, in the order of the text.
#[derive(Default)]
pub(super) struct Fields<'a> {
    members: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Fields<'a> {
    /// Takes them from a whole text. What was read before a fault is there too.
    pub(super) fn read(&mut self, text: &'a str) -> Result<(), Problem> {
        let mut reader = Reader::new(text);
        let mut problem = None;
        if reader.take(b'{') {
            if !reader.take(b'}') {
                self.members(text, &mut reader, &mut problem)?;
            }
        } else {
            reader.value(&mut Skip)?;
            problem = Some(Problem::bad_request("a message has to be a JSON object"));
        }
        reader.end()?;
        // That it is no JSON would be the greater fault.
        problem.map_or(Ok(()), Err)
    }

    fn members(
        &mut self,
        text: &'a str,
        reader: &mut Reader<'a>,
        problem: &mut Option<Problem>,
    ) -> Result<(), Unexpected> {
        loop {
            if reader.peek() != Some(b'"') {
                return Err(reader.unexpected());
            }
            let name = reader.string()?.raw;
            if !reader.take(b':') {
                return Err(reader.unexpected());
            }
            reader.peek();
            let start = reader.at();
            reader.value(&mut Skip)?;
            let value = &text[start..reader.at()];
            // One that is no text is unknown under its raw name.
            let name = string_text(name).unwrap_or(Cow::Borrowed(name));
            if self.raw(&name).is_some() {
                problem.get_or_insert_with(|| Problem::bad_request(format!("`{}` is there twice", shown(&name))));
            } else if self.members.len() == FIELDS_MAX {
                problem.get_or_insert_with(|| Problem::bad_request("a message does not have so many fields"));
            } else {
                self.members.push((name, value));
            }
            if reader.take(b'}') {
                return Ok(());
            }
            if !reader.take(b',') {
                return Err(reader.unexpected());
            }
        }
    }

    /// A field's raw JSON.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        let member = self.members.iter().find(|(known, _)| known == name);
        member.map(|(_, value)| *value)
    }

    /// The same, where `null` is as good as absent.
    fn present(&self, name: &str) -> Option<&'a str> {
        self.raw(name).filter(|value| *value != "null")
    }

    /// The request's own id.
    pub(super) fn id(&self) -> Result<Option<RequestId<'a>>, Problem> {
        let Some(raw) = self.present("id") else {
            return Ok(None);
        };
        let problem = || {
            Problem::bad_request(format!(
                "`id` has to be a string of at most {REQUEST_ID_BYTES_MAX} bytes or an integer"
            ))
        };
        RequestId::of_json(raw).map(Some).ok_or_else(problem)
    }

    /// Refuses what a message of this type does not have.
    pub(super) fn only(&self, kind: &str, names: &[&str]) -> Result<(), Problem> {
        let known = |name: &str| matches!(name, "type" | "id") || names.contains(&name);
        let Some((name, _)) = self.members.iter().find(|(name, _)| !known(name)) else {
            return Ok(());
        };
        let takes = match names {
            [] => "no other".to_owned(),
            names => format!("`{}`", names.join("`, `")),
        };
        let name = shown(name);
        Err(Problem::bad_request(format!(
            "`{name}` is no field of `{kind}`, which has {takes}"
        )))
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
        self.present(name).map(|raw| text(name, raw)).transpose()
    }

    pub(super) fn text(&self, kind: &str, name: &str) -> Result<Cow<'a, str>, Problem> {
        self.optional_text(name)?.ok_or_else(|| missing(kind, name))
    }

    pub(super) fn optional_number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(raw) = self.present(name) else {
            return Ok(None);
        };
        if !raw.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Problem::bad_request(format!("`{name}` has to be a whole number")));
        }
        // What overflows is above any limit.
        Ok(Some(raw.parse().unwrap_or(u64::MAX)))
    }

    /// False where it is absent.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.present(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad_request(format!("`{name}` has to be true or false"))),
        }
    }

    /// A list of at least one string.
    pub(super) fn channels(&self, kind: &str) -> Result<Vec<Cow<'a, str>>, Problem> {
        let name = "channels";
        let raw = self.present(name).ok_or_else(|| missing(kind, name))?;
        let mut reader = Reader::new(raw);
        let mut channels = Vec::new();
        if !reader.take(b'[') {
            return Err(no_list(name));
        }
        loop {
            if reader.peek() != Some(b'"') {
                break;
            }
            channels.push(text(name, reader.string()?.raw)?);
            if !reader.take(b',') {
                break;
            }
        }
        // Else something stands here that is no string.
        if !reader.take(b']') {
            return Err(no_list(name));
        }
        if channels.is_empty() {
            return Err(Problem::bad_request(format!("`{name}` has to name one at least")));
        }
        Ok(channels)
    }
}

fn missing(kind: &str, name: &str) -> Problem {
    Problem::bad_request(format!("`{kind}` needs `{name}`"))
}

fn no_list(name: &str) -> Problem {
    Problem::bad_request(format!("`{name}` has to be a list of strings"))
}

fn text<'a>(name: &str, raw: &'a str) -> Result<Cow<'a, str>, Problem> {
    if !raw.starts_with('"') {
        return Err(Problem::bad_request(format!("`{name}` has to be a string")));
    }
    let half = || Problem::bad_request(format!("`{name}` holds half a surrogate pair"));
    string_text(raw).ok_or_else(half)
}

/// As much of a stranger's text as belongs into a message.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    const CHARACTERS_MAX: usize = 40;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
