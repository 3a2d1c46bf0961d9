//! From a client's bytes to messages.

use std::mem;

use super::header::Header;
use super::mask::unmask;
use super::partial::Partial;
use super::{Error, Message, Opcode};

/// Reads the frames of one client, in whatever pieces they arrive.
///
/// Idle it holds no memory but itself, 16 bytes. What it keeps of an unfinished message is what has arrived of it:
/// memory grows by receiving (at most to twice that), never by what a header claims.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What is unfinished; rare, hence elsewhere. A message that was put together there stays until the next call.
    partial: Option<Box<Partial>>,
    /// A close or an error was the last that there is to say.
    has_ended: bool,
}

/// Where the payload of a message lies.
pub(super) enum Step<'b> {
    /// The input is used up.
    More,
    /// In the input, unmasked.
    Whole(Opcode, &'b mut [u8]),
    /// In the partial message's buffer.
    Kept(Opcode),
}

impl Decoder {
    /// A decoder at the start of a connection, behind the opening handshake.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next message off the front of `input`, unmasking in place. `None`: all of `input` was taken and
    /// more is needed. Call it until then: the call after a message is also what frees the memory of one that
    /// arrived in pieces.
    ///
    /// `message_bytes_max` is for the payload of a message, all its fragments together; control frames don't count.
    ///
    /// After a [`Message::Close`] or an error everything is ignored: `input` is emptied, `None` is returned.
    ///
    /// # Errors
    ///
    /// What the client did wrong; [`Error::close_code`] says what to close the connection with. An error is found as
    /// soon as a header or the text so far shows it, not at the end of the message.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b mut [u8],
        message_bytes_max: usize,
    ) -> Result<Option<Message<'a>>, Error> {
        if self.has_ended {
            self.partial = None;
            *input = &mut [];
            return Ok(None);
        }
        if self.partial.as_mut().is_some_and(|partial| !partial.release()) {
            self.partial = None;
        }
        let Self { partial, has_ended } = self;
        let message = match advance(partial, input, message_bytes_max) {
            Ok(Step::More) => return Ok(None),
            Ok(Step::Whole(opcode, payload)) => Message::read(opcode, payload),
            Ok(Step::Kept(opcode)) => {
                Message::read(opcode, partial.as_ref().map_or(&[], |partial| partial.kept(opcode)))
            }
            Err(error) => Err(error),
        };
        *has_ended = matches!(message, Err(_) | Ok(Message::Close { .. }));
        message.map(Some)
    }

    /// How many bytes are kept of a frame or message that is unfinished.
    pub fn buffered_bytes(&self) -> usize {
        match &self.partial {
            Some(partial) if !self.has_ended => partial.buffered_bytes(),
            _ => 0,
        }
    }
}

fn advance<'b>(
    partial: &mut Option<Box<Partial>>,
    input: &mut &'b mut [u8],
    message_bytes_max: usize,
) -> Result<Step<'b>, Error> {
    let partial = match partial {
        Some(partial) => partial,
        None => {
            if let Some((header, header_bytes)) = Header::parse(input)? {
                header.check_order(None)?;
                header.check_size(0, message_bytes_max)?;
                if let Some(step) = header.take_whole(header_bytes, input) {
                    return Ok(step);
                }
            } else if input.is_empty() {
                return Ok(Step::More);
            }
            partial.insert(Box::default())
        }
    };
    partial.advance(input, message_bytes_max)
}

impl Header {
    /// Takes the frame off `input`, whose first `skip_bytes` are this header, where it is a message of its own and all there.
    pub(super) fn take_whole<'b>(&self, skip_bytes: usize, input: &mut &'b mut [u8]) -> Option<Step<'b>> {
        let opcode = self.opcode.filter(|_| self.is_final)?;
        let payload_bytes = usize::try_from(self.payload_bytes).ok()?;
        if input.len() - skip_bytes < payload_bytes {
            return None;
        }
        take(input, skip_bytes);
        let payload = take(input, payload_bytes);
        unmask(payload, self.mask);
        Some(Step::Whole(opcode, payload))
    }
}

/// Splits the first `bytes` off `input`, which has that many.
pub(super) fn take<'b>(input: &mut &'b mut [u8], bytes: usize) -> &'b mut [u8] {
    let (taken, rest) = mem::take(input).split_at_mut(bytes);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests {
    use super::Decoder;

    /// A masked frame whose mask changes nothing.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first, 0x80 | 127];
        out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
        out
    }

    fn count(decoder: &mut Decoder, mut read: Vec<u8>) -> usize {
        let mut input = &mut read[..];
        let mut messages = 0;
        while decoder.next(&mut input, 1_000_000).unwrap().is_some() {
            messages += 1;
        }
        messages
    }

    #[test]
    fn whole_frames_need_no_memory() {
        let mut decoder = Decoder::new();
        let mut read = [frame(0x81, b"text"), frame(0x89, b"ping"), frame(0x82, b"")].concat();
        let mut input = &mut read[..];
        for _ in 0..3 {
            assert!(decoder.next(&mut input, 1000).unwrap().is_some());
            assert!(decoder.partial.is_none());
        }
    }

    #[test]
    fn what_was_kept_is_freed() {
        let mut decoder = Decoder::new();
        let stream = [frame(0x01, b"in "), frame(0x89, b"ping"), frame(0x80, b"pieces")].concat();
        for (index, byte) in stream.iter().enumerate() {
            let messages = count(&mut decoder, vec![*byte]);
            let is_end = index + 1 == stream.len();
            assert_eq!(decoder.partial.is_none(), is_end);
            assert!(!is_end || messages == 1);
        }
    }

    #[test]
    fn memory_is_for_what_has_arrived() {
        let mut decoder = Decoder::new();
        let stream = frame(0x82, &[7; 900_000]);
        let mut received_bytes = 0;
        for piece in stream[..800_000].chunks(1000) {
            assert_eq!(count(&mut decoder, piece.to_vec()), 0);
            received_bytes += piece.len();
            let capacity = decoder.partial.as_ref().unwrap().capacity();
            assert!(
                capacity <= (2 * received_bytes).min(1_000_000),
                "{capacity} after {received_bytes}"
            );
        }
    }
}
