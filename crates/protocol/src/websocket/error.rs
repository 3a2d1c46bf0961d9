//! What a client's bytes can be wrong about.

/// Why a connection has to be closed. [`Error::close_code`] is what to close it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reserved bit is set, and no extension gave it a meaning (RFC 6455, section 5.2).
    #[error("a reserved bit is set, but no extension was negotiated")]
    ReservedBits,
    /// An opcode of 3 to 7 or 11 to 15 (section 5.2).
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// A client has to mask every frame (section 5.1).
    #[error("the frame is not masked")]
    Unmasked,
    /// A ping, pong or close in several fragments (section 5.5).
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A ping, pong or close of more than 125 bytes (section 5.5).
    #[error("a control frame has more than 125 bytes")]
    ControlTooLong,
    /// A continuation, and nothing to continue (section 5.4).
    #[error("a continuation frame, but no message has begun")]
    UnexpectedContinuation,
    /// A new message before the last one's final fragment (section 5.4).
    #[error("a new message, but the last one is unfinished")]
    ExpectedContinuation,
    /// A 64-bit length with its most significant bit set (section 5.2).
    #[error("the length's most significant bit is set")]
    InvalidLength,
    /// A close frame of one byte: too short for its code (section 5.5.1).
    #[error("a close frame of one byte")]
    CloseTooShort,
    /// A close code that may not be sent (section 7.4).
    #[error("close code {0} may not be sent")]
    InvalidCloseCode(u16),
    /// A text message or a close reason that is not UTF-8 (section 8.1).
    #[error("the text is not UTF-8")]
    InvalidUtf8,
    /// A message above the limit that was given to [`Decoder::next`](super::Decoder::next).
    #[error("the message is larger than allowed")]
    TooLarge,
}

impl Error {
    /// The close code for this error: 1002 (protocol error), 1007 (text that isn't UTF-8) or 1009 (too large). RFC 6455,
    /// section 7.4.1.
    ///
    /// ```
    /// use tidings_protocol::websocket::Error;
    ///
    /// assert_eq!(Error::Unmasked.close_code(), 1002);
    /// ```
    pub const fn close_code(&self) -> u16 {
        match self {
            Self::InvalidUtf8 => 1007,
            Self::TooLarge => 1009,
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::InvalidLength
            | Self::CloseTooShort
            | Self::InvalidCloseCode(_) => 1002,
        }
    }
}
