//! Query strings (WHATWG URL, `application/x-www-form-urlencoded`), read without a table.

/// The first parameter called `name`, percent-decoded.
pub(crate) fn find(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
