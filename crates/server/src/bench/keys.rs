//! The secrets of a run, and the configuration that has them.

use std::time::{Duration, SystemTime};

use anyhow::anyhow;

use crate::token::{NewToken, Secret, sign};

/// The secrets of a run.
pub(super) struct Keys {
    secret: Secret,
    jwt: String,
    pub(super) api: String,
}

impl Keys {
    pub(super) fn new() -> anyhow::Result<Self> {
        let hex = || format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let jwt = hex();
        let secret = Secret::new(jwt.as_bytes()).map_err(|error| anyhow!("{error}"))?;
        Ok(Self {
            secret,
            jwt,
            api: hex(),
        })
    }

    pub(super) fn token(&self, user: &str) -> anyhow::Result<String> {
        let token = NewToken {
            user: user.to_owned(),
            expires_in: Duration::from_secs(30 * 24 * 3_600),
            ..NewToken::default()
        };
        Ok(sign(&self.secret, &token, SystemTime::now())?)
    }

    /// Small outboxes, so that a stalled client soon lags.
    pub(super) fn config(&self, durability: &str) -> String {
        format!(
            r#"durability = "{durability}"
[auth]
hs256 = "{}"
[api]
key = "{}"
[admin]
listen = "off"
[limits]
messages_per_second = 0
outbox_bytes = 32768
[[channels]]
match = "kept:*"
history = {{ keep = 10000000, for = "1d" }}
subscribe = "user"
publish = "user"
[[channels]]
match = "bench:*"
history = {{ keep = 10000000, for = "1d" }}
subscribe = "user"
publish = "user"
[[channels]]
match = "memory:*"
subscribe = "user"
publish = "user"
"#,
            self.jwt, self.api
        )
    }
}
