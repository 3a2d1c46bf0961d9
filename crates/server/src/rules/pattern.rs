//! Patterns of channel names, as they stand in `[[channels]] match` and in a token's `channels`.
//!
//! `*` is any run of characters, also none and also with `:`. `{name}` is a run of one or more characters without
//! `:`; at the end of a pattern it is the rest, `:` included. All else stands for itself. Matching looks at each
//! position once for each token of the pattern: there is no backtracking for an unlucky name to blow up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::CHANNEL_BYTES_MAX;

/// A parsed pattern. Made with [`str::parse`], shown as it was written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Clone, PartialEq, Eq)]
enum Token {
    Literal(String),
    /// `*`
    Run,
    /// `{name}` before the end; `user` when it is `{user}`.
    Part {
        user: bool,
    },
    /// `{name}` at the end.
    Rest {
        user: bool,
    },
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// No text at all.
    #[error("a pattern can't be empty; `*` matches every channel")]
    Empty,
    /// Longer than the names it is to match.
    #[error("a pattern has at most {CHANNEL_BYTES_MAX} bytes")]
    TooLong,
    /// No channel that clients can name begins so.
    #[error("a pattern can't begin with `/`: no channel that clients can name does")]
    Slash,
    /// Control characters are in no channel name.
    #[error("a pattern can't have control characters")]
    Control,
    /// `{` without its `}`, or the reverse, or no name between them.
    #[error("`{{` and `}}` must enclose a name of letters, digits and `_`, as in `room:{{id}}`")]
    Braces,
    /// Two wildcards side by side.
    #[error("two wildcards can't stand side by side: put what separates them between them, as in `{{a}}:{{b}}`")]
    Adjacent,
    /// The same name twice.
    #[error("`{{{0}}}` can stand only once in a pattern")]
    Twice(String),
}

impl Pattern {
    /// Whether the channel's name matches. `{user}` is then a run like any other.
    pub(crate) fn matches(&self, channel: &str) -> bool {
        self.reaches_end(channel, None)
    }

    /// Whether the channel's name matches with `user` in the place of `{user}`.
    pub(crate) fn matches_user(&self, channel: &str, user: &str) -> bool {
        self.reaches_end(channel, Some(user))
    }

    /// Whether `{user}` stands in it.
    pub(crate) fn names_user(&self) -> bool {
        self.user_at().is_some()
    }

    /// Whether `{user}` can be only one part of any name: nothing before it may stretch past a `:`, nor end anywhere
    /// but before one. Otherwise two users, `b:c` and `c`, could both own one channel.
    pub(crate) fn user_is_unambiguous(&self) -> bool {
        let Some(at) = self.user_at() else { return false };
        self.tokens[..=at].iter().enumerate().all(|(index, token)| match token {
            Token::Literal(_) | Token::Rest { .. } => true,
            Token::Run => false,
            Token::Part { .. } => {
                matches!(self.tokens.get(index + 1), Some(Token::Literal(next)) if next.starts_with(':'))
            }
        })
    }

    /// Whether there may be a name that both match: what they begin with does not exclude that.
    pub(crate) fn may_share(&self, other: &Self) -> bool {
        let beginning = |pattern: &Self| match &pattern.tokens[..] {
            [Token::Literal(text), ..] => text.clone(),
            _ => String::new(),
        };
        let (one, other) = (beginning(self), beginning(other));
        one.starts_with(&other) || other.starts_with(&one)
    }

    /// Whether it surely matches every name that the other does: where it is a beginning with a wildcard behind it, or the same
    /// but for the names in braces. It may do so in other ways too, which are not looked for.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let begins = |with: &str| match &other.tokens[..] {
            [Token::Literal(text), ..] => text.strip_prefix(with),
            _ => None,
        };
        match &self.tokens[..] {
            [Token::Run] => true,
            [Token::Literal(text), Token::Run] => begins(text).is_some(),
            [Token::Literal(text), Token::Rest { .. }] => begins(text).is_some_and(|more| {
                let goes_on = matches!(other.tokens.get(1), Some(Token::Part { .. } | Token::Rest { .. }));
                !more.is_empty() || goes_on
            }),
            tokens => tokens == other.tokens,
        }
    }

    /// The pattern as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn user_at(&self) -> Option<usize> {
        let is_user = |token: &Token| matches!(token, Token::Part { user: true } | Token::Rest { user: true });
        self.tokens.iter().position(is_user)
    }

    fn reaches_end(&self, channel: &str, user: Option<&str>) -> bool {
        let name = channel.as_bytes();
        if name.len() > CHANNEL_BYTES_MAX {
            return false;
        }
        let mut reached = Positions::start();
        for token in &self.tokens {
            reached = match (token, user) {
                (Token::Literal(text), _) => reached.after_literal(name, text.as_bytes()),
                (Token::Run, _) => reached.after_run(name),
                (Token::Part { user: true }, Some(user)) if user.contains(':') => return false,
                (Token::Part { user: true } | Token::Rest { user: true }, Some(user)) => {
                    reached.after_literal(name, user.as_bytes())
                }
                (Token::Part { .. }, _) => reached.after_part(name),
                (Token::Rest { .. }, _) => reached.after_rest(name),
            };
        }
        reached.0[name.len()]
    }
}

/// The positions in a name that the tokens so far can end at.
struct Positions([bool; CHANNEL_BYTES_MAX + 1]);

impl Positions {
    fn none() -> Self {
        Self([false; CHANNEL_BYTES_MAX + 1])
    }

    fn start() -> Self {
        let mut start = Self::none();
        start.0[0] = true;
        start
    }

    fn after_literal(&self, name: &[u8], literal: &[u8]) -> Self {
        let mut next = Self::none();
        for from in 0..=name.len() {
            if self.0[from] && name[from..].starts_with(literal) {
                next.0[from + literal.len()] = true;
            }
        }
        next
    }

    fn after_run(&self, name: &[u8]) -> Self {
        let mut next = Self::none();
        let mut open = false;
        for at in 0..=name.len() {
            open |= self.0[at];
            next.0[at] = open;
        }
        next
    }

    fn after_part(&self, name: &[u8]) -> Self {
        let mut next = Self::none();
        let mut open = false;
        for (at, byte) in name.iter().enumerate() {
            open = (open || self.0[at]) && *byte != b':';
            next.0[at + 1] = open;
        }
        next
    }

    fn after_rest(&self, name: &[u8]) -> Self {
        let mut next = Self::none();
        next.0[name.len()] = self.0[..name.len()].contains(&true);
        next
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > CHANNEL_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        if text.starts_with('/') {
            return Err(PatternError::Slash);
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::Control);
        }
        let mut tokens = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let token = match first {
                '*' => {
                    rest = &rest[1..];
                    Token::Run
                }
                '{' => {
                    let (name, after) = rest[1..].split_once('}').ok_or(PatternError::Braces)?;
                    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                        return Err(PatternError::Braces);
                    }
                    if names.contains(&name) {
                        return Err(PatternError::Twice(name.to_owned()));
                    }
                    names.push(name);
                    rest = after;
                    let user = name == "user";
                    if after.is_empty() {
                        Token::Rest { user }
                    } else {
                        Token::Part { user }
                    }
                }
                '}' => return Err(PatternError::Braces),
                _ => {
                    let (literal, after) = rest.split_at(rest.find(['*', '{', '}']).unwrap_or(rest.len()));
                    rest = after;
                    Token::Literal(literal.to_owned())
                }
            };
            let is_wild = |token: &Token| !matches!(token, Token::Literal(_));
            if is_wild(&token) && tokens.last().is_some_and(is_wild) {
                return Err(PatternError::Adjacent);
            }
            tokens.push(token);
        }
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn patterns_match_whole_names() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("news", &["news"], &["new", "newss", "xnews", "News"]),
            ("*", &["a", "a:b", "größe 1"], &[]),
            (
                "room:*",
                &["room:", "room:1", "room:1:2"],
                &["room", "xroom:1", "Room:1"],
            ),
            ("*:log", &[":log", "a:log", "a:b:log", ":log:log"], &["log", "a:log:"]),
            ("a*b*c", &["abc", "a1b2c", "abbcc", "a:b:c"], &["ac", "acb", "abca"]),
            (
                "room:{id}",
                &["room:1", "room:1:2", "room::"],
                &["room:", "room", "rooms:1"],
            ),
            ("doc:{id}:*", &["doc:1:", "doc:1:x:y"], &["doc:1", "doc::x", "doc:1x"]),
            ("{a}:{b}:z", &["1:2:z", "é:ß:z"], &["1:2:3:z", ":2:z", "1::z", "1:2:"]),
            ("{all}", &["x", "x:y"], &[""]),
            ("{a}-{b}", &["1-2", "1-2:3", "1-2-3"], &["1:1-2", "-2", "1-"]),
            ("{x}.", &["a.", "a.b."], &["a:b.", "."]),
        ];
        for (text, matching, other) in table {
            for name in *matching {
                assert!(pattern(text).matches(name), "{text} should match {name}");
            }
            for name in *other {
                assert!(!pattern(text).matches(name), "{text} should not match {name}");
            }
        }
    }

    #[test]
    fn user_stands_for_exactly_one_user() {
        for (text, name, user, expected) in [
            ("user:{user}", "user:7", "7", true),
            ("user:{user}", "user:7", "77", false),
            ("user:{user}", "user:77", "7", false),
            ("user:{user}", "user:a:b", "a:b", true),
            ("user:{user}", "user:a:b", "a", false),
            ("box:{user}:in", "box:7:in", "7", true),
            ("box:{user}:in", "box:7:in", "8", false),
            ("box:{user}:in", "box:a:b:in", "a:b", false),
            ("{team}:{user}", "t:7", "7", true),
            ("{team}:{user}", "t:7", "t:7", false),
            ("room:*", "room:7", "8", true),
        ] {
            assert_eq!(pattern(text).matches_user(name, user), expected, "{text} {name} {user}");
        }
        for (text, unambiguous) in [
            ("user:{user}", true),
            ("{user}", true),
            ("{user}:*", true),
            ("box:{user}:in", true),
            ("{team}:{user}:x", true),
            ("*:{user}", false),
            ("{user}.x", false),
            ("{team}-{user}", false),
            ("room:*", false),
        ] {
            assert_eq!(pattern(text).user_is_unambiguous(), unambiguous, "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        for (text, error) in [
            ("", PatternError::Empty),
            (&*"x".repeat(256), PatternError::TooLong),
            ("/admin", PatternError::Slash),
            ("a\nb", PatternError::Control),
            ("a{", PatternError::Braces),
            ("a}", PatternError::Braces),
            ("a{}", PatternError::Braces),
            ("a{b c}", PatternError::Braces),
            ("a{{b}}", PatternError::Braces),
            ("**", PatternError::Adjacent),
            ("{a}{b}", PatternError::Adjacent),
            ("{a}*", PatternError::Adjacent),
            ("{a}:{a}", PatternError::Twice("a".to_owned())),
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap_err(), error, "{text}");
        }
        assert!("x".repeat(255).parse::<Pattern>().is_ok());
    }

    /// The definition, by trying every split.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match pattern.first() {
            None => name.is_empty(),
            Some('*') => (0..=name.len()).any(|cut| naive(&pattern[1..], &name[cut..])),
            Some('{') => {
                let end = pattern.iter().position(|c| *c == '}').unwrap() + 1;
                let last = end == pattern.len();
                (1..=name.len())
                    .filter(|cut| last || !name[..*cut].contains(&':'))
                    .any(|cut| naive(&pattern[end..], &name[cut..]))
            }
            Some(literal) => name.first() == Some(literal) && naive(&pattern[1..], &name[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn agrees_with_the_naive_matcher(
            pieces in prop::collection::vec(prop_oneof!["[ab:é]{1,2}", Just("*".to_owned()), Just("{}".to_owned())], 1..6),
            name in "[ab:é]{0,9}",
        ) {
            let text: String = pieces.iter().enumerate()
                .map(|(index, piece)| if piece == "{}" { format!("{{v{index}}}") } else { piece.clone() })
                .collect();
            if let Ok(pattern) = text.parse::<Pattern>() {
                let chars: Vec<char> = text.chars().collect();
                prop_assert_eq!(pattern.matches(&name), naive(&chars, &name.chars().collect::<Vec<_>>()), "{} {}", text, name);
            }
        }

        #[test]
        fn what_covers_another_matches_all_that_it_does(
            one in prop_oneof![Just("*".to_owned()), "[ab:]{0,2}(\\*|\\{v\\})", "[ab:]{1,2}"],
            other in "[ab:]{0,3}(\\*|\\{v\\})?[ab:]{0,2}",
            name in "[ab:]{0,6}",
        ) {
            if let (Ok(one), Ok(other)) = (one.parse::<Pattern>(), other.parse::<Pattern>()) {
                prop_assert!(!one.covers(&other) || !other.matches(&name) || one.matches(&name), "{one} {other} {name}");
            }
        }

        #[test]
        fn an_unambiguous_user_owns_alone(
            prefix in prop_oneof![Just(""), Just("u:"), Just("{t}:")],
            suffix in prop_oneof![Just(""), Just(":x"), Just(":*")],
            name in "[ab:]{1,8}",
            one in "[ab:]{1,4}",
            other in "[ab:]{1,4}",
        ) {
            let pattern: Pattern = format!("{prefix}{{user}}{suffix}").parse().unwrap();
            prop_assert!(pattern.user_is_unambiguous());
            prop_assert!(one == other || !(pattern.matches_user(&name, &one) && pattern.matches_user(&name, &other)));
            prop_assert!(!pattern.matches_user(&name, &one) || pattern.matches(&name));
        }

        #[test]
        fn no_text_panics(text in any::<String>(), name in any::<String>()) {
            if let Ok(pattern) = text.parse::<Pattern>() {
                pattern.matches(&name);
            }
        }
    }

    #[test]
    fn a_beginning_covers_what_begins_with_it() {
        for (one, other, covers) in [
            ("*", "{x}", true),
            ("room:*", "room:1", true),
            ("room:*", "room:{x}", true),
            ("room:*", "room:a*", true),
            ("room:{x}", "room:{y}", true),
            ("room:{x}", "room:1", true),
            ("room:{x}", "room:*", false),
            ("room*", "room:secret", true),
            ("room:1", "room:*", false),
            ("room:{x}:a", "room:{y}:a", true),
            ("room:*", "roo*", false),
        ] {
            assert_eq!(pattern(one).covers(&pattern(other)), covers, "{one} {other}");
        }
    }

    #[test]
    fn many_wildcards_cost_no_more_than_their_number() {
        let worst = pattern(&"a*".repeat(127));
        assert!(worst.matches(&"a".repeat(255)));
        assert!(!worst.matches(&"b".repeat(255)));
        assert!(!pattern(&format!("{}b", "a*".repeat(127))).matches(&"a".repeat(255)));
    }
}
