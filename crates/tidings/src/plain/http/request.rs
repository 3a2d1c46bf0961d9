//! The query of a plain client's request. Parameters that are not known are left alone; one that is known stands once,
//! `channel` apart.

use std::borrow::Cow;

use crate::error::{Error, Result};

pub(super) struct Query<'a> {
    pub(super) channels: Vec<String>,
    others: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

const KNOWN: [&str; 7] = [
    "since",
    "lastEventId",
    "wait",
    "limit",
    "named",
    "format",
    "access_token",
];

impl<'a> Query<'a> {
    pub(super) fn parse(query: &'a str) -> Result<Self> {
        let mut channels = Vec::new();
        let mut others: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "channel" {
                channels.push(value.into_owned());
            } else if KNOWN.contains(&&*name) {
                if others.iter().any(|(known, _)| *known == name) {
                    return Err(Error::new(format!("`{name}` is given twice")));
                }
                others.push((name, value));
            }
        }
        Ok(Self { channels, others })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.others.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    /// `1` or `0`; not given is `0`.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(Error::new(format!("`{name}` is 1 or 0"))),
        }
    }

    pub(super) fn is_raw(&self) -> Result<bool> {
        match self.get("format") {
            None | Some("json") => Ok(false),
            Some("raw") => Ok(true),
            Some(_) => Err(Error::new("`format` is `raw`, or left out")),
        }
    }

    /// A whole number, however large; what does not fit is as large as can be.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::new(format!("`{name}` is a whole number")));
        }
        Ok(Some(text.parse().unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once_and_channels_are_many() {
        let query = Query::parse("channel=a&channel=b%20c&wait=99999999999999999999&x=1&x=2&named=1").unwrap();
        assert_eq!(query.channels, ["a", "b c"]);
        assert_eq!(query.number("wait").unwrap(), Some(u64::MAX));
        assert!(query.flag("named").unwrap() && !query.is_raw().unwrap());
        assert_eq!(query.get("x"), None);
        assert!(Query::parse("wait=1&wait=2").is_err());
        for bad in ["wait=", "wait=-1", "wait=1.5", "wait=%2B1"] {
            assert!(Query::parse(bad).unwrap().number("wait").is_err(), "{bad}");
        }
        assert!(Query::parse("format=xml").unwrap().is_raw().is_err());
    }
}
