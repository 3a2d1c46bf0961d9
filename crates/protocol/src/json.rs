//! Events as JSON, for the transports that are no Socket.IO: plain WebSocket, server-sent events, polls.
//!
//! A Socket.IO event has a list of arguments and attachments; elsewhere it has `data`, one JSON value in which bytes are
//! written `{"$bytes":"<base64>"}`. [`data_from_arguments`] and [`arguments_from_data`] lead from one to the other, and
//! all that is not bytes passes as it was written, to the last digit of a number.
//!
//! ```
//! use tidings_protocol::json::{Event, arguments_from_data, data_from_arguments};
//!
//! let (arguments, attachments) = arguments_from_data(r#"{"pi":3.10,"file":{"$bytes":"AQID"}}"#, 10)?;
//! assert_eq!(arguments, r#"{"pi":3.10,"file":{"_placeholder":true,"num":0}}"#);
//! assert_eq!(attachments, [&[1, 2, 3][..]]);
//!
//! let mut out = Vec::new();
//! let event = Event {
//!     id: Some("k3v9x1qa-42"),
//!     channel: "room:7",
//!     event: "upload",
//!     data: &data_from_arguments(&arguments, &attachments),
//!     time: 1_700_000_000_000,
//!     user: None,
//! };
//! event.sse_data(&mut out);
//! assert_eq!(
//!     String::from_utf8(out)?,
//!     r#"{"channel":"room:7","event":"upload","data":{"pi":3.10,"file":{"$bytes":"AQID"}},"time":1700000000000}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod data;
mod event;
mod reader;
mod string;

pub use data::{arguments_from_data, data_from_arguments};
pub use event::{Event, write_gap};
pub use string::write_string;

pub(crate) use event::gap_fields;
pub use reader::DEPTH_MAX;
pub(crate) use reader::{RawString, Reader, Skip, Unexpected, Visitor, string_text};

/// Why a value cannot be taken for an event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not JSON, is nested deeper than [`DEPTH_MAX`], or has something behind its end.
    #[error("the data is not JSON, or is nested deeper than {DEPTH_MAX} levels, at byte {at}")]
    Json {
        /// Where, in bytes from its beginning.
        at: usize,
    },
    /// A `{"$bytes":"…"}` whose text is not base64.
    #[error("the `$bytes` at byte {at} of the data has to be standard base64, with its padding")]
    Base64 {
        /// Where the object begins, in bytes from the data's beginning.
        at: usize,
    },
    /// More `$bytes` than an event may have attachments.
    #[error("the data has more than {max} `$bytes`")]
    TooManyAttachments {
        /// The limit that was given.
        max: usize,
    },
    /// An object that Socket.IO's clients would take for one of the attachments.
    #[error("an object with `\"_placeholder\":true` can't be sent along with `$bytes`")]
    Placeholder,
}

impl Error {
    /// The code that clients see: `invalid_json` or `bad_request`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Json { .. } => "invalid_json",
            Self::Base64 { .. } | Self::TooManyAttachments { .. } | Self::Placeholder => "bad_request",
        }
    }
}

impl From<Unexpected> for Error {
    fn from(Unexpected(at): Unexpected) -> Self {
        Self::Json { at }
    }
}
