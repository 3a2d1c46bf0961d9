//! The parameters of a request's query.

use tidings::{Error, Result};

/// The values of the parameters of these names. Others are left alone.
///
/// # Errors
/// `bad_request` when one is given twice.
pub(crate) fn named<const N: usize>(query: &str, names: [&str; N]) -> Result<[Option<String>; N]> {
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(at) = names.iter().position(|known| *known == name) else {
            continue;
        };
        if values[at].replace(value.into_owned()).is_some() {
            return Err(Error::new(format!("`{name}` is given twice")));
        }
    }
    Ok(values)
}

/// How much a page is to hold: from 1 to `max`.
///
/// # Errors
/// `bad_request` when it is no such number.
pub(crate) fn limit(text: Option<&str>, default: usize, max: usize) -> Result<usize> {
    let Some(text) = text else { return Ok(default) };
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(limit) if is_number && (1..=max).contains(&limit) => Ok(limit),
        _ => Err(Error::new(format!("`limit` is a number from 1 to {max}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once() {
        let [limit, after] = named("x=1&x=2&limit=7", ["limit", "after"]).unwrap();
        assert_eq!((limit.as_deref(), after), (Some("7"), None));
        let [after] = named("after=a%2Fb+c", ["after"]).unwrap();
        assert_eq!(after.as_deref(), Some("a/b c"));
        assert_eq!(named("after=&after=", ["after"]).unwrap_err().code(), "bad_request");
    }

    #[test]
    fn a_limit_is_a_number_from_1_on() {
        for (text, expected) in [(None, 50), (Some("1"), 1), (Some("007"), 7), (Some("1000"), 1_000)] {
            assert_eq!(limit(text, 50, 1_000).unwrap(), expected);
        }
        for text in ["", "0", "-1", "+1", "1.5", "many", "1001", "99999999999999999999999"] {
            assert_eq!(
                limit(Some(text), 50, 1_000).unwrap_err().code(),
                "bad_request",
                "{text}"
            );
        }
    }
}
