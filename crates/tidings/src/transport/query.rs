//! Query strings (WHATWG URL, `application/x-www-form-urlencoded`), read without a table.

use std::borrow::Cow;

/// The first parameter called `name`, percent-decoded.
pub(crate) fn find<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

/// Whether a query says nothing but what Engine.IO's clients say on their own account.
pub(crate) fn is_engines_own(query: &str) -> bool {
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    names.all(|name| matches!(&*name, "EIO" | "transport" | "sid" | "t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_is_told_from_what_its_library_says() {
        for query in ["", "EIO=4&transport=websocket", "EIO=4&transport=polling&t=Pq1&sid=x"] {
            assert!(is_engines_own(query), "{query}");
        }
        for query in ["EIO=4&access_token=Q", "x", "EIO=4&transport=polling&room=5", "tt=1"] {
            assert!(!is_engines_own(query), "{query}");
        }
    }

    #[test]
    fn the_first_of_a_name_counts() {
        assert_eq!(find("a=1&b=%C3%A4+x&b=2", "b").as_deref(), Some("ä x"));
        assert_eq!(find("a=1", "b"), None);
    }
}
