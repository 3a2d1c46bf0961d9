//! The keys of the configuration, and what is said about one that is not among them.

/// The keys of one table.
pub(super) struct Keys {
    /// The table as it is written, for example `[auth]`; empty for the top level.
    pub(super) table: &'static str,
    /// The keys that this version reads.
    pub(super) known: &'static [&'static str],
    /// Keys that come with later versions. They are refused: to ignore one would be to promise what isn't done.
    pub(super) later: &'static [&'static str],
}

pub(super) const TOP: Keys = Keys {
    table: "",
    known: &[
        "listen",
        "drain",
        "allowed_origins",
        "trusted_proxies",
        "data",
        "durability",
        "auth",
        "api",
        "admin",
        "channels",
        "on",
        "hooks",
        "limits",
        "tls",
    ],
    later: &["broker"],
};

pub(super) const AUTH: Keys = Keys {
    table: "[auth]",
    known: &[
        "hs256",
        "rs256",
        "es256",
        "eddsa",
        "jwks",
        "audience",
        "issuer",
        "anonymous",
        "cookie",
    ],
    later: &[],
};

/// The keys of `jwks = { … }`.
pub(super) const JWKS: Keys = Keys {
    table: "{ … }",
    known: &["file", "url", "ca"],
    later: &[],
};

/// The keys of a secret, `hs256 = { … }`.
pub(super) const SECRET: Keys = Keys {
    table: "{ … }",
    known: &["env", "file"],
    later: &[],
};

pub(super) const API: Keys = Keys {
    table: "[api]",
    known: &["key", "keys"],
    later: &[],
};

/// The keys of one of `keys = [{ … }]`.
pub(super) const API_KEY: Keys = Keys {
    table: "[[api.keys]]",
    known: &["name", "sha256", "scopes"],
    later: &[],
};

pub(super) const ADMIN: Keys = Keys {
    table: "[admin]",
    known: &["listen", "password"],
    later: &[],
};

pub(super) const CHANNELS: Keys = Keys {
    table: "[[channels]]",
    known: &[
        "match",
        "history",
        "subscribe",
        "publish",
        "presence",
        "conflate",
        "throttle",
        "debounce",
        "slow",
    ],
    later: &[],
};

pub(super) const ON: Keys = Keys {
    table: "[[on]]",
    known: &["event", "to", "key", "volatile"],
    later: &[],
};

pub(super) const HOOKS: Keys = Keys {
    table: "[hooks]",
    known: &[
        "url",
        "ca",
        "secret",
        "connect",
        "disconnect",
        "subscribe",
        "events",
        "timeout",
    ],
    later: &[],
};

/// The keys of `history = { … }`.
pub(super) const HISTORY: Keys = inline(&["keep", "for", "bytes"]);

/// Those of `conflate = { … }`, `throttle = { … }` and `debounce = { … }`.
pub(super) const CONFLATE: Keys = inline(&["by", "every", "for"]);
pub(super) const THROTTLE: Keys = inline(&["by", "every", "edge"]);
pub(super) const DEBOUNCE: Keys = inline(&["by", "every"]);

const fn inline(known: &'static [&'static str]) -> Keys {
    Keys {
        table: "{ … }",
        known,
        later: &[],
    }
}

pub(super) const LIMITS: Keys = Keys {
    table: "[limits]",
    known: &[
        "message_bytes",
        "messages_per_second",
        "messages_burst",
        "outbox_bytes",
        "subscriptions",
        "attachments",
        "headers_bytes",
        "handshake",
        "session",
        "connections",
        "connections_per_ip",
        "connections_per_user",
    ],
    later: &[],
};

pub(super) const TLS: Keys = Keys {
    table: "[tls]",
    known: &["cert", "key"],
    later: &[],
};

/// All tables that can be named in the file.
pub(super) const TABLES: [&Keys; 10] = [
    &TOP, &AUTH, &API, &API_KEY, &ADMIN, &CHANNELS, &ON, &HOOKS, &LIMITS, &TLS,
];

impl Keys {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().chain(self.later).copied()
    }

    /// What to say of `key`, which stands at `path` in this table and is not known.
    pub(super) fn complaint(&self, path: &str, key: &str) -> String {
        if self.later.contains(&key) {
            return format!("`{path}` is not supported yet by this version");
        }
        if let Some(near) = self.all().find(|known| is_near(key, known)) {
            return format!("`{path}` is not a key; did you mean `{near}`?");
        }
        let elsewhere = TABLES.iter().find(|keys| keys.all().any(|known| known == key));
        match elsewhere {
            Some(Keys { table: "", .. }) => format!("`{path}` is not a key; `{key}` stands before the first table"),
            Some(Keys { table, .. }) => format!("`{path}` is not a key; `{key}` belongs in `{table}`"),
            None => format!("`{path}` is not a key; there are {}", self.known.join(", ")),
        }
    }
}

/// Whether one was probably meant for the other: a letter in three may be wrong, two at least.
fn is_near(given: &str, known: &str) -> bool {
    let allowed = (known.len() / 3).clamp(1, 3);
    given.len().abs_diff(known.len()) <= allowed && distance(given, known) <= allowed
}

/// The number of letters to insert, leave out, replace or swap with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(!one[i - 1].eq_ignore_ascii_case(&other[j - 1]));
                let swapped = if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                    rows[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(swapped)
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
        for (keys, key, part) in [
            (&TOP, "lisen", "did you mean `listen`"),
            (&TOP, "Listen", "did you mean `listen`"),
            (&TOP, "alowed_origin", "did you mean `allowed_origins`"),
            (&TOP, "durabilty", "did you mean `durability`"),
            (&TOP, "hs256", "`hs256` belongs in `[auth]`"),
            (&TOP, "x", "there are listen, drain"),
            (&AUTH, "hs265", "did you mean `hs256`"),
            (&AUTH, "drain", "`drain` stands before the first table"),
            (&LIMITS, "subscription", "did you mean `subscriptions`"),
            (&LIMITS, "message_byte", "did you mean `message_bytes`"),
            (&CHANNELS, "subscrib", "did you mean `subscribe`"),
            (&TOP, "broker", "not supported yet by this version"),
        ] {
            let complaint = keys.complaint(key, key);
            assert!(complaint.contains(part), "{complaint}");
        }
    }

    #[test]
    fn distances() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
