//! The header of a frame (RFC 6455, section 5.2), both ways.

use super::{CONTROL_BYTES_MAX, Error};

/// What a frame carries. Fragments of a message have none of their own but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// A message of UTF-8 text.
    Text,
    /// A message of bytes.
    Binary,
    /// The end of the connection.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// Answers a ping, or just says that one is alive.
    Pong,
}

impl Opcode {
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// The header of a client's frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// `None` is a continuation.
    pub(super) opcode: Option<Opcode>,
    pub(super) is_final: bool,
    pub(super) mask: [u8; 4],
    pub(super) payload_bytes: u64,
}

impl Header {
    /// Two bytes, a length of eight, a mask of four.
    pub(super) const BYTES_MAX: usize = 14;

    /// Reads the header at the start of `bytes`, and tells its own length. `None`: it goes on behind them. What is wrong is
    /// said as soon as it shows, so a stranger's bytes that are no frames are refused at the first one or two.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        // An extension's bits would be let through here.
        if first & RESERVED != 0 {
            return Err(Error::ReservedBits);
        }
        let opcode = match first & OPCODE {
            0 => None,
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            reserved => return Err(Error::ReservedOpcode(reserved)),
        };
        let is_final = first & FIN != 0;
        let is_control = opcode.is_some_and(Opcode::is_control);
        if is_control && !is_final {
            return Err(Error::ControlFragmented);
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(Error::Unmasked);
        }
        let (payload_bytes, length_end) = match second & LENGTH {
            126 => match bytes.get(2..4).and_then(|length| length.try_into().ok()) {
                Some(length) => (u64::from(u16::from_be_bytes(length)), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|length| length.try_into().ok()) {
                Some(length) => (u64::from_be_bytes(length), 10),
                None => return Ok(None),
            },
            length => (u64::from(length), 2),
        };
        if payload_bytes >> 63 != 0 {
            return Err(Error::InvalidLength);
        }
        if is_control && payload_bytes > CONTROL_BYTES_MAX as u64 {
            return Err(Error::ControlTooLong);
        }
        let end = length_end + 4;
        let Some(mask) = bytes.get(length_end..end).and_then(|mask| mask.try_into().ok()) else {
            return Ok(None);
        };
        Ok(Some((
            Self {
                opcode,
                is_final,
                mask,
                payload_bytes,
            },
            end,
        )))
    }

    /// Whether the frame may come at this place: `begun` is the message that has begun (section 5.4).
    pub(super) fn check_order(&self, begun: Option<Opcode>) -> Result<(), Error> {
        match (self.opcode, begun) {
            (None, None) => Err(Error::UnexpectedContinuation),
            (Some(Opcode::Text | Opcode::Binary), Some(_)) => Err(Error::ExpectedContinuation),
            _ => Ok(()),
        }
    }

    /// Whether the message, of which `kept_bytes` are there, stays within the limit with this frame.
    pub(super) fn check_size(&self, kept_bytes: usize, message_bytes_max: usize) -> Result<(), Error> {
        let rest_bytes = message_bytes_max.saturating_sub(kept_bytes) as u64;
        if self.payload_bytes > rest_bytes && self.control().is_none() {
            return Err(Error::TooLarge);
        }
        Ok(())
    }

    /// The opcode if it is that of a control frame.
    pub(super) fn control(&self) -> Option<Opcode> {
        self.opcode.filter(|opcode| opcode.is_control())
    }
}

/// Appends the header of a whole server frame: 2, 4 or 10 bytes, never masked (section 5.1).
pub(super) fn write_header(out: &mut Vec<u8>, opcode: Opcode, payload_bytes: usize) {
    let first = FIN | opcode.bits();
    if payload_bytes <= 125 {
        out.extend_from_slice(&[first, payload_bytes as u8]);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.extend_from_slice(&[first, 126]);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.extend_from_slice(&[first, 127]);
        out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
    }
}
