//! What a client said when it came: headers, query, address, and the `auth` payload of its CONNECT.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::connections::ConnectionKind;
use crate::error::{Code, Error, Result};
use crate::socketio::socket::User;
use crate::transport::query;

/// The HTTP request a connection began with, in one compact allocation: `http`'s own types would keep the
/// server's whole read buffer alive.
#[derive(Default)]
pub(crate) struct Opening {
    /// The query, then names and values one after another.
    text: Box<str>,
    query_end: u32,
    /// Ends of name and value, pair by pair, in `text`.
    ends: Box<[(u32, u32)]>,
    address: Option<IpAddr>,
    time_ms: u64,
    secure: bool,
}

/// Which headers a connection keeps.
#[derive(Debug, Clone, Default)]
pub(crate) enum KeepHeaders {
    /// All of them, as in Node.
    #[default]
    All,
    /// Only those that can carry a token.
    Credentials,
}

impl Opening {
    /// Where the client comes from.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub(crate) fn new(
        headers: &HeaderMap,
        query: &str,
        address: Option<IpAddr>,
        secure: bool,
        keep: &KeepHeaders,
    ) -> Self {
        let mut text = query.to_owned();
        let query_end = offset(text.len());
        let mut ends = Vec::new();
        for (name, value) in headers {
            if matches!(keep, KeepHeaders::Credentials) && name != header::AUTHORIZATION && name != header::COOKIE {
                continue;
            }
            text.push_str(name.as_str());
            let name_end = text.len();
            text.push_str(&String::from_utf8_lossy(value.as_bytes()));
            ends.push((offset(name_end), offset(text.len())));
        }
        let time_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0));
        Self {
            text: text.into(),
            query_end,
            ends: ends.into(),
            address,
            time_ms,
            secure,
        }
    }

    /// The same without what was said.
    fn forgotten(self: &Arc<Self>) -> Arc<Self> {
        if self.text.is_empty() {
            return Arc::clone(self);
        }
        Arc::new(Self {
            text: Box::default(),
            query_end: 0,
            ends: Box::default(),
            address: self.address,
            time_ms: self.time_ms,
            secure: self.secure,
        })
    }

    fn query(&self) -> &str {
        &self.text[..self.query_end as usize]
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = self.query_end as usize;
        self.ends.iter().map(move |(name_end, value_end)| {
            let (name_end, value_end) = (*name_end as usize, *value_end as usize);
            let pair = (&self.text[start..name_end], &self.text[name_end..value_end]);
            start = value_end;
            pair
        })
    }
}

/// Heads are limited to far less than 4 GiB.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

const NO_TOKEN: &str = "no token was sent";

/// What a client said when it came, for [`Io::auth`](crate::Io::auth) and [`Socket::handshake`](crate::Socket::handshake). Cheap to clone.
#[derive(Clone)]
pub struct Handshake {
    opening: Arc<Opening>,
    namespace: Arc<str>,
    kind: Option<ConnectionKind>,
    /// None where the server has let go of it.
    said: Option<Arc<Said>>,
}

/// What tells who a client is.
#[derive(Clone, Default)]
struct Said {
    auth: Option<Arc<str>>,
    /// The name of the cookie that may hold a token.
    cookie: Option<Arc<str>>,
    /// Who the client is already.
    before: Option<User>,
    /// The token, where it had to be decoded.
    token: OnceLock<Box<str>>,
}

impl Handshake {
    pub(crate) fn new(
        opening: Arc<Opening>,
        auth: Option<Arc<str>>,
        namespace: Arc<str>,
        cookie: Option<Arc<str>>,
    ) -> Self {
        Self {
            opening,
            namespace,
            kind: None,
            said: Some(Arc::new(Said {
                auth,
                cookie,
                ..Said::default()
            })),
        }
    }

    /// The same on a connection that speaks this.
    pub(crate) fn on(mut self, kind: ConnectionKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The same from who is in already.
    pub(crate) fn renewing(mut self, before: Option<User>) -> Self {
        Arc::make_mut(self.said.get_or_insert_default()).before = before;
        self
    }

    /// What the client speaks; none where it asked a route of the application's own.
    pub fn kind(&self) -> Option<ConnectionKind> {
        self.kind
    }

    /// Whether the client is in already, and shows a fresh credential before its old one ends: an `auth` message of a plain
    /// WebSocket. Its connection is no further one.
    pub fn is_renewal(&self) -> bool {
        self.before().is_some()
    }

    /// Who the client is already, where it shows a fresh credential: what [`Io::auth`](crate::Io::auth) answered the last time.
    pub fn renewed<U: Send + Sync + 'static>(&self) -> Option<Arc<U>> {
        self.before()?.clone().downcast().ok()
    }

    fn before(&self) -> Option<&User> {
        self.said.as_ref()?.before.as_ref()
    }

    /// The same without what the client sent: for servers that keep no headers.
    pub(crate) fn forgotten(&self) -> Self {
        Self {
            opening: self.opening.forgotten(),
            namespace: Arc::clone(&self.namespace),
            kind: self.kind,
            said: None,
        }
    }

    /// The first header of that name (any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers, names in lower case, in the order of `http::HeaderMap`.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.opening.headers()
    }

    /// The raw query string of the request. With [`Builder::forget_headers`](crate::Builder::forget_headers) that of a Socket.IO
    /// client is empty where it has nothing but what Engine.IO's clients add themselves.
    pub fn query_string(&self) -> &str {
        self.opening.query()
    }

    /// The first query parameter of that name, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        query::find(self.opening.query(), name).map(Cow::into_owned)
    }

    /// The client's address: the peer's, or behind a trusted proxy that of `X-Forwarded-For`. None where
    /// the server does not know it (under `axum::serve` without `into_make_service_with_connect_info`).
    pub fn address(&self) -> Option<IpAddr> {
        self.opening.address
    }

    /// When the connection began, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.opening.time_ms
    }

    /// Whether it came over TLS that ended here.
    pub fn is_secure(&self) -> bool {
        self.opening.secure
    }

    /// The namespace the client asks to enter.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The `auth` payload as JSON text, where the client sent one.
    pub fn auth_json(&self) -> Option<&str> {
        self.said.as_ref()?.auth.as_deref()
    }

    /// The `auth` payload as a type of yours.
    ///
    /// # Errors
    /// `unauthenticated` when there is none or when it has another shape.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T> {
        let json = self
            .auth_json()
            .ok_or_else(|| Error::unauthenticated("no auth payload was sent"))?;
        serde_json::from_str(json).map_err(|_| Error::unauthenticated("the auth payload has an unexpected shape"))
    }

    /// The token: the first found of `auth.token`, `Authorization: Bearer`, `access_token` in the query,
    /// and the cookie named with [`Builder::token_cookie`](crate::Builder::token_cookie). Only that one counts.
    ///
    /// # Errors
    /// `unauthenticated` when none of them holds one.
    pub fn token(&self) -> Result<&str> {
        let refused = |problem| Error::coded(Code::Unauthenticated, problem);
        let said = self.said.as_ref().ok_or_else(|| refused(NO_TOKEN))?;
        match self.find_token(said).map_err(refused)? {
            Cow::Borrowed(token) => Ok(token),
            Cow::Owned(token) => Ok(said.token.get_or_init(|| token.into())),
        }
    }

    fn find_token<'a>(&'a self, said: &'a Said) -> Result<Cow<'a, str>, &'static str> {
        #[derive(serde::Deserialize)]
        struct Auth<'a> {
            #[serde(borrow)]
            token: Option<&'a RawValue>,
        }
        #[derive(serde::Deserialize)]
        struct Token<'a>(#[serde(borrow)] Cow<'a, str>);

        if let Some(json) = &said.auth {
            match serde_json::from_str(json) {
                Ok(Auth { token: None }) => {}
                Ok(Auth { token: Some(token) }) => {
                    let token = serde_json::from_str(token.get()).map(|Token(token)| token);
                    return token.map_err(|_| "`auth.token` is not a string");
                }
                Err(_) => return Err("`auth` is not an object with one `token`"),
            }
        }
        if let Some(value) = self.header("authorization") {
            return match value.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim().into()),
                _ => Err("the Authorization header is not of the form `Bearer <token>`"),
            };
        }
        if let Some(token) = query::find(self.opening.query(), "access_token") {
            return Ok(token);
        }
        match said.cookie.as_deref().and_then(|name| self.cookie_value(name)) {
            Some(token) => Ok(token.into()),
            None => Err(NO_TOKEN),
        }
    }

    fn cookie_value(&self, name: &str) -> Option<&str> {
        let cookies = self
            .headers()
            .filter(|(header, _)| *header == "cookie")
            .flat_map(|(_, value)| value.split(';'));
        cookies
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(cookie, _)| *cookie == name)
            .map(|(_, value)| value)
    }
}

impl fmt::Debug for Handshake {
    /// Without headers, query and payload: they hold tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("namespace", &self.namespace)
            .field("address", &self.opening.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(headers: &[(&'static str, &'static str)], query: &str, auth: Option<&str>) -> Handshake {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, http::HeaderValue::from_static(value));
        }
        let opening = Opening::new(&map, query, None, false, &KeepHeaders::All);
        Handshake::new(
            Arc::new(opening),
            auth.map(Arc::from),
            Arc::from("/"),
            Some(Arc::from("session")),
        )
    }

    #[test]
    fn only_the_first_token_found_counts() {
        let headers = [("authorization", "bearer H"), ("cookie", "a=b; session=C")];
        let token = |headers, query, auth| {
            let handshake = handshake(headers, query, auth);
            handshake
                .token()
                .map(str::to_owned)
                .map_err(|error| error.code().to_owned())
        };
        assert_eq!(
            token(&headers, "access_token=Q", Some(r#"{"token":"A"}"#)),
            Ok("A".into())
        );
        assert_eq!(token(&headers, "access_token=Q", Some("{}")), Ok("H".into()));
        assert_eq!(
            token(&headers, "access_token=Q", Some(r#"{"token":null}"#)),
            Ok("H".into())
        );
        for refused in [r#"{"token":7}"#, r#"{"token":"A","token":"A"}"#, "[]"] {
            assert_eq!(
                token(&headers, "", Some(refused)),
                Err("unauthenticated".into()),
                "{refused}"
            );
        }
        assert_eq!(token(&headers[1..], "x=1&access_token=Q%2E", None), Ok("Q.".into()));
        assert_eq!(token(&headers[1..], "", None), Ok("C".into()));
        assert_eq!(token(&[], "", None), Err("unauthenticated".into()));
        assert_eq!(
            token(&[("authorization", "Basic x")], "access_token=Q", None),
            Err("unauthenticated".into())
        );
    }

    #[test]
    fn what_is_forgotten_says_nothing() {
        let opening = |query| {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, http::HeaderValue::from_static("x"))]);
            let address = Some(IpAddr::from([127, 0, 0, 1]));
            Arc::new(Opening::new(&headers, query, address, true, &KeepHeaders::Credentials))
        };
        let bare = opening("");
        assert!(Arc::ptr_eq(&bare, &bare.forgotten()));
        let said = opening("EIO=4&access_token=Q&transport=websocket");
        let handshake = Handshake::new(said, Some(Arc::from("{}")), Arc::from("/"), None);
        assert_eq!(handshake.token().unwrap(), "Q");
        let forgotten = handshake.forgotten();
        assert_eq!(
            (
                forgotten.query_string(),
                forgotten.auth_json(),
                forgotten.headers().count()
            ),
            ("", None, 0)
        );
        assert_eq!(forgotten.token().unwrap_err().code(), "unauthenticated");
        assert_eq!(
            (forgotten.address(), forgotten.is_secure(), forgotten.time_ms()),
            (handshake.address(), true, handshake.time_ms())
        );
    }

    #[test]
    fn a_token_that_is_decoded_is_kept_and_others_are_where_they_came() {
        let decoded = handshake(&[], "", Some(r#"{"token":"a\u0041"}"#));
        let token = decoded.token().unwrap();
        assert_eq!(
            (token, token.as_ptr()),
            ("aA", decoded.clone().token().unwrap().as_ptr())
        );
        let plain = handshake(&[], "access_token=abc", None);
        assert_eq!(
            plain.token().unwrap().as_ptr(),
            plain.query_string()["access_token=".len()..].as_ptr()
        );
    }

    #[test]
    fn headers_are_kept_as_sent() {
        let handshake = handshake(&[("user-agent", "x"), ("x-a", "1"), ("x-a", "2")], "q=%C3%A4", None);
        assert_eq!(
            handshake.headers().collect::<Vec<_>>(),
            [("user-agent", "x"), ("x-a", "1"), ("x-a", "2")]
        );
        assert_eq!(
            (handshake.header("X-A"), handshake.query("q")),
            (Some("1"), Some("ä".into()))
        );
    }
}
