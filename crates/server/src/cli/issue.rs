//! `tidings token`.

use std::time::SystemTime;

use super::{Exit, Failure, Token};
use crate::config::{Config, Environment, Sources};
use crate::token::{NewToken, sign};

/// The variable that has the key where no configuration does.
const KEY_VARIABLE: &str = "TIDINGS_AUTH__HS256";

/// Makes the token that was asked for.
///
/// # Errors
/// When there is no key, or the configuration that should have it can't be read.
pub(crate) fn issue(token: &Token, environment: Environment) -> Result<String, Failure> {
    let failed = |message: String| Failure {
        exit: Exit::Failed,
        message,
    };
    if token.config.is_none() && !environment.has(KEY_VARIABLE) {
        return Err(failed(format!(
            "there is no key to sign with: set {KEY_VARIABLE} to the server's secret, or name its configuration, the \
             one with `hs256` in `[auth]`, with --config"
        )));
    }
    let config = Config::load(&Sources {
        file: token.config.clone(),
        environment,
        ..Sources::default()
    })?;
    let Some(secret) = config.auth.secret else {
        return Err(failed(
            "there is no key to sign with: the configuration has no `hs256` in `[auth]`".to_owned(),
        ));
    };
    let new = NewToken {
        user: token.user.clone(),
        subscribe: token.subscribe.clone(),
        publish: token.publish.clone(),
        info: None,
        expires_in: token.expires,
        audience: config.auth.audience.into_iter().next(),
        issuer: config.auth.issuer.into_iter().next(),
    };
    sign(&secret, &new, SystemTime::now()).map_err(|error| failed(error.to_string()))
}
