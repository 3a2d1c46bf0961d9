//! The arguments of a client's event, taken one by one, and what is said of one that doesn't fit.

use std::vec;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tidings::{Error, EventContext, FromEvent, Result};

/// The arguments that are still to be looked at.
pub(super) struct Arguments {
    values: vec::IntoIter<Box<RawValue>>,
    taken: usize,
}

impl FromEvent for Arguments {
    fn from_event(context: &mut EventContext) -> Result<Self> {
        context.event().args().map(Self::new)
    }
}

impl Arguments {
    fn new(values: Vec<Box<RawValue>>) -> Self {
        Self {
            values: values.into_iter(),
            taken: 0,
        }
    }

    /// The next one as it was sent; none when there is none left.
    pub(super) fn next_raw(&mut self) -> Option<Box<RawValue>> {
        self.taken += 1;
        self.values.next()
    }

    /// The next one, which must be there. `expected` says what it is.
    ///
    /// # Errors
    /// `bad_request` when it is not there, or something else.
    pub(super) fn next<T: DeserializeOwned>(&mut self, expected: &str) -> Result<T> {
        let value = self.next_raw();
        value
            .and_then(|value| serde_json::from_str(value.get()).ok())
            .ok_or_else(|| Error::new(format!("argument {} must be {expected}", self.taken)))
    }

    /// The last one, an object of options. Without it, or with `null`, all options have their defaults.
    ///
    /// # Errors
    /// `bad_request` when it is something else, has an option that is not known, or is not the last one.
    pub(super) fn options<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        let options = match self.next_raw() {
            None => T::default(),
            Some(value) => serde_json::from_str::<Option<T>>(value.get())
                .map_err(|error| {
                    // Where in the text it is says nothing to who wrote an object.
                    let problem = error.to_string();
                    let problem = problem.split(" at line ").next().unwrap_or_default();
                    Error::new(format!("the options don't fit: {problem}"))
                })?
                .unwrap_or_default(),
        };
        self.end()?;
        Ok(options)
    }

    /// There must be no more.
    ///
    /// # Errors
    /// `bad_request` when there are.
    pub(super) fn end(&mut self) -> Result<()> {
        match self.values.len() {
            0 => Ok(()),
            more => Err(Error::new(format!(
                "there are {} arguments, and {} at the most are expected",
                self.taken + more,
                self.taken
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Options {
        limit: Option<usize>,
    }

    fn arguments(json: &str) -> Arguments {
        Arguments::new(serde_json::from_str(json).unwrap())
    }

    /// A name, anything, options.
    fn read(json: &str) -> Result<(String, Option<String>, Options)> {
        let mut arguments = arguments(json);
        let name = arguments.next("a name")?;
        let data = arguments.next_raw().map(|data| data.get().to_owned());
        Ok((name, data, arguments.options()?))
    }

    #[test]
    fn what_fits_is_taken_and_data_stays_as_it_was_sent() {
        let some = |limit| Options { limit };
        for (json, data, limit) in [
            (r#"["n"]"#, None, None),
            (r#"["n", 1]"#, Some("1"), None),
            (r#"["n", null, null]"#, Some("null"), None),
            (r#"["n", {"b":1,"a":1e400}, {}]"#, Some(r#"{"b":1,"a":1e400}"#), None),
            (r#"["n", "\ud800", {"limit":7}]"#, Some(r#""\ud800""#), Some(7)),
            (r#"["n", 1, {"limit":null}]"#, Some("1"), None),
        ] {
            let expected = ("n".to_owned(), data.map(str::to_owned), some(limit));
            assert_eq!(read(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (json, part) in [
            ("[]", "argument 1 must be a name"),
            ("[7]", "argument 1 must be a name"),
            (r#"["\ud800"]"#, "argument 1 must be a name"),
            (r#"["n", 1, "o"]"#, "the options don't fit"),
            (r#"["n", 1, {"limit":"many"}]"#, "expected usize"),
            (r#"["n", 1, {"limits":1}]"#, "unknown field `limits`"),
            (
                r#"["n", 1, {}, 4]"#,
                "there are 4 arguments, and 3 at the most are expected",
            ),
        ] {
            let error = read(json).unwrap_err();
            assert_eq!(error.code(), "bad_request");
            assert!(error.message().contains(part), "{json}: {}", error.message());
            assert!(!error.message().contains("column"), "{}", error.message());
        }
    }
}
