//! The one table of error codes, and the error that handlers return.
//!
//! A code means the same on every transport: over HTTP it is a status, in an acknowledgement `{ok: false, code, message}`.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

/// What a handler, an extractor or a publish returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal;)*) => {
        /// The codes that clients see, with the HTTP status each stands for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The code as clients see it, for example `"too_large"`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// The HTTP status that goes with it, for example `413`.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)* }
            }
        }
    };
}

codes! {
    /// The request is malformed in a way that no other code names.
    BadRequest = "bad_request", 400;
    /// What should be JSON is not, or not of the expected shape.
    InvalidJson = "invalid_json", 400;
    /// An event id that is not of the form `<epoch>-<seq>`.
    InvalidId = "invalid_id", 400;
    /// A channel name that is empty, over 255 bytes, or has control characters, or begins with `/`.
    InvalidChannel = "invalid_channel", 400;
    /// More subscriptions than the limit allows.
    TooManyChannels = "too_many_channels", 400;
    /// Nobody handles an event of this name.
    UnknownEvent = "unknown_event", 400;
    /// No token, or one that can't be used.
    Unauthenticated = "unauthenticated", 401;
    /// The token's `exp` has passed.
    TokenExpired = "token_expired", 401;
    /// The token's `nbf` is still to come.
    TokenNotYetValid = "token_not_yet_valid", 401;
    /// The token's signature does not match the key.
    TokenSignature = "token_signature", 401;
    /// The token's algorithm is not one of the key's.
    TokenAlgorithm = "token_algorithm", 401;
    /// The token is for another audience.
    TokenAudience = "token_audience", 401;
    /// The token comes from another issuer.
    TokenIssuer = "token_issuer", 401;
    /// The user may not do this; what does not exist looks the same.
    Forbidden = "forbidden", 403;
    /// The page's origin is not among the allowed ones.
    OriginNotAllowed = "origin_not_allowed", 403;
    /// There is no such thing.
    NotFound = "not_found", 404;
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405;
    /// The publish key was used for other content.
    KeyConflict = "key_conflict", 409;
    /// The message, or the packet, is over the limit.
    TooLarge = "too_large", 413;
    /// More messages than the limit allows.
    RateLimited = "rate_limited", 429;
    /// More connections than the limit allows.
    TooManyConnections = "too_many_connections", 429;
    /// Something failed on the server.
    Internal = "internal", 500;
    /// The server is shutting down; come back.
    Draining = "draining", 503;
    /// The server can't do it now; try again.
    Unavailable = "unavailable", 503;
    /// The store is full.
    StoreFull = "store_full", 507;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client is told when something it asked for failed.
///
/// Any [`std::error::Error`] converts with `?`. Such an error is *not* shown to the client, since it may
/// hold what clients must not see: the client gets the code `internal`, the log the whole error. Use
/// [`Error::new`] or one of its sisters for what the client should read.
///
/// ```
/// # use tidings::{Error, Result};
/// fn may_enter(room: u32) -> Result<()> {
///     let floor: u32 = "7".parse()?; // a ParseIntError would reach the log only
///     if room < floor {
///         return Err(Error::forbidden("this room is for members").with_data(&floor));
///     }
///     Ok(())
/// }
/// # assert!(may_enter(3).is_err());
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    status: Option<http::StatusCode>,
    data: Option<Box<RawValue>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with one of Tidings' codes and a message for the client.
    pub fn coded(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::with_code(code.as_str(), message)
    }

    /// An error with a code of the application's own and a message for the client.
    pub fn with_code(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Box::new(Inner {
                code: code.into(),
                message: message.into(),
                status: None,
                data: None,
                source: None,
            }),
        }
    }

    /// `bad_request` with a message for the client: as `new Error("…")` in Node.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self::coded(Code::BadRequest, message)
    }

    /// `unauthenticated`: nobody, or a credential that can't be used.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::coded(Code::Unauthenticated, message)
    }

    /// `forbidden`: somebody, but not allowed.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::coded(Code::Forbidden, message)
    }

    /// Says which HTTP status goes with it, where its code is the application's own: 403 for `banned`, say.
    #[must_use]
    pub fn with_status(mut self, status: http::StatusCode) -> Self {
        self.inner.status = Some(status);
        self
    }

    /// Adds what the client finds beside the message: `err.data` of a `connect_error`, `data` of an
    /// acknowledgement. A value that serde can't serialise is left out and logged.
    #[must_use]
    pub fn with_data(mut self, data: &impl Serialize) -> Self {
        match serde_json::value::to_raw_value(data) {
            Ok(raw) => self.inner.data = Some(raw),
            Err(error) => tracing::warn!(%error, "the data of an error can't be serialised"),
        }
        self
    }

    /// The code the client sees.
    pub fn code(&self) -> &str {
        &self.inner.code
    }

    /// The message the client sees.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The data the client sees, as JSON.
    pub fn data(&self) -> Option<&RawValue> {
        self.inner.data.as_deref()
    }

    /// The error behind it, which only the log sees.
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.inner.source.as_deref()
    }

    /// As [`From`], but for a credential that could not be checked: the client reads
    /// `unauthenticated` instead of `internal`.
    pub(crate) fn in_auth(mut self) -> Self {
        if self.inner.source.is_some() && self.inner.code == Code::Internal.as_str() {
            self.inner.code = Cow::Borrowed(Code::Unauthenticated.as_str());
            self.inner.message = Cow::Borrowed("Authentication failed");
        }
        self
    }

    /// The WebSocket close code for what may be otherwise in a moment; none for what is final.
    pub(crate) fn transient_close_code(&self) -> Option<u16> {
        let is = |code: Code| self.code() == code.as_str();
        if is(Code::TooManyConnections) || is(Code::RateLimited) {
            Some(4429)
        } else if is(Code::Draining) || is(Code::Unavailable) {
            Some(1012)
        } else {
            None
        }
    }

    /// The WebSocket close code for a client that is not let in.
    pub(crate) fn refusal_close_code(&self) -> u16 {
        let refused = match self.status() {
            _ if self.code() == Code::Internal.as_str() => 1011,
            http::StatusCode::FORBIDDEN => 4403,
            _ => 4401,
        };
        self.transient_close_code().unwrap_or(refused)
    }

    /// The HTTP status that goes with the code; 400 for a code of the application's own, unless
    /// [`Error::with_status`] says another.
    pub fn status(&self) -> http::StatusCode {
        if let Some(status) = self.inner.status {
            return status;
        }
        let code = Code::ALL.iter().find(|code| code.as_str() == self.code());
        let status = code.map_or(400, |code| code.status());
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// `{"ok":false,"code":…,"message":…}` with `data` where there is some.
    pub(crate) fn to_ack_json(&self) -> String {
        #[derive(Serialize)]
        struct Refusal<'a> {
            ok: bool,
            code: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a RawValue>,
        }
        serde_json::to_string(&Refusal {
            ok: false,
            code: self.code(),
            message: self.message(),
            data: self.data(),
        })
        .unwrap_or_else(|_| r#"{"ok":false,"code":"internal","message":"internal error"}"#.to_owned())
    }

    /// The data of a CONNECT_ERROR: the error's own, else `{"code":…}`, so that it is never empty.
    pub(crate) fn to_connect_data_json(&self) -> String {
        match self.data() {
            Some(data) => data.get().to_owned(),
            None => serde_json::json!({ "code": self.code() }).to_string(),
        }
    }
}

impl axum::response::IntoResponse for Error {
    /// A problem document (RFC 9457) with `code` beside its own members.
    fn into_response(self) -> axum::response::Response {
        #[derive(Serialize)]
        struct Problem<'a> {
            title: &'a str,
            status: u16,
            code: &'a str,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a RawValue>,
        }
        if let Some(source) = self.source() {
            tracing::error!(%source, "a request failed");
        } else {
            tracing::debug!(error = %self, "a request is refused");
        }
        let status = self.status();
        // `about:blank`, the type left out, goes with the status' own phrase (section 4.2.1).
        let problem = Problem {
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            code: self.code(),
            detail: self.message(),
            data: self.data(),
        };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let headers = [
            (http::header::CONTENT_TYPE, "application/problem+json"),
            (http::header::CACHE_CONTROL, "no-store"),
        ];
        let mut response = (status, headers, body).into_response();
        if status == http::StatusCode::UNAUTHORIZED {
            let scheme = http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl<E> From<E> for Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    fn from(source: E) -> Self {
        let mut error = Self::coded(Code::Internal, "internal error");
        error.inner.source = Some(Box::new(source));
        error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.code, self.inner.message)?;
        match &self.inner.source {
            Some(source) => write!(f, " ({source})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
