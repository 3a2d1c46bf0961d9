//! What a client said.

use super::{Error, Opcode};

/// One message of a client, all its fragments together, or one control frame. It borrows from the input or the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// Is to be answered by a pong with the same payload, of 125 bytes at most (RFC 6455, section 5.5.2).
    Ping(&'a [u8]),
    /// Answers a ping, or was sent unasked; either way the client lives.
    Pong(&'a [u8]),
    /// The last message: what the client sends behind it is ignored. To be answered by a close frame, usually with the
    /// same code (section 5.5.1).
    Close {
        /// 1000 to 1003, 1007 to 1014 or 3000 to 4999. A client need not give one.
        code: Option<u16>,
        /// For people to read; may be empty.
        reason: &'a str,
    },
}

impl<'a> Message<'a> {
    /// What an unmasked `payload` means.
    pub(super) fn read(opcode: Opcode, payload: &'a [u8]) -> Result<Self, Error> {
        Ok(match opcode {
            Opcode::Text => Self::Text(text(payload)?),
            Opcode::Binary => Self::Binary(payload),
            Opcode::Ping => Self::Ping(payload),
            Opcode::Pong => Self::Pong(payload),
            Opcode::Close => return Self::read_close(payload),
        })
    }

    fn read_close(payload: &'a [u8]) -> Result<Self, Error> {
        match payload {
            [] => Ok(Self::Close { code: None, reason: "" }),
            [_] => Err(Error::CloseTooShort),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(Error::InvalidCloseCode(code));
                }
                Ok(Self::Close {
                    code: Some(code),
                    reason: text(reason)?,
                })
            }
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Error::InvalidUtf8)
}

/// Section 7.4.2, and of the range below 3000 what IANA's "WebSocket Close Code Number Registry" holds and may travel: not
/// 1004 (reserved), 1005, 1006 and 1015 (only ever reported to the own application).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
