//! What has arrived of something unfinished.

use super::decoder::{Step, take};
use super::header::Header;
use super::mask::unmask;
use super::{CONTROL_BYTES_MAX, Error, Opcode};

/// A header, frame or message of which the rest has yet to come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    head: [u8; Header::BYTES_MAX],
    /// How much of `head` has arrived; 0 between frames and within one.
    head_bytes: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// Text or binary: the message that has begun and not ended.
    begun: Option<Opcode>,
    /// What that message has so far, or was when it ended.
    message: Vec<u8>,
    /// How much of `message` is known to be whole characters, if it is text.
    text_bytes: usize,
    /// What a control frame has so far, or was when it ended. Beside `message`, since it may come between two fragments.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Frame {
    /// `None` is a part of the message that has begun.
    control: Option<Opcode>,
    is_final: bool,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    /// How much of the payload is missing.
    rest_bytes: usize,
}

impl Partial {
    /// Forgets what has been returned; says whether something unfinished is left.
    pub(super) fn release(&mut self) -> bool {
        if self.frame.is_none() {
            self.control = Vec::new();
        }
        self.head_bytes > 0 || self.frame.is_some() || self.begun.is_some()
    }

    /// The payload of a message of which [`Step::Kept`] told.
    pub(super) fn kept(&self, opcode: Opcode) -> &[u8] {
        if opcode.is_control() {
            &self.control
        } else {
            &self.message
        }
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        let message_bytes = if self.begun.is_some() { self.message.len() } else { 0 };
        let control_bytes = if self.frame.is_some() { self.control.len() } else { 0 };
        self.head_bytes + message_bytes + control_bytes
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    /// Goes through `input` up to the end of a message.
    pub(super) fn advance<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        message_bytes_max: usize,
    ) -> Result<Step<'b>, Error> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let Some(header) = self.take_header(input)? else {
                        return Ok(Step::More);
                    };
                    header.check_order(self.begun)?;
                    header.check_size(self.message.len(), message_bytes_max)?;
                    if let Some(step) = header.take_whole(0, input) {
                        return Ok(step);
                    }
                    self.begin(&header)?
                }
            };
            let chunk = take(input, frame.rest_bytes.min(input.len()));
            unmask(chunk, frame.mask);
            frame.mask.rotate_left(chunk.len() % 4);
            frame.rest_bytes -= chunk.len();
            let is_complete = frame.rest_bytes == 0;
            if let Some(opcode) = frame.control {
                keep(&mut self.control, chunk, CONTROL_BYTES_MAX);
                if is_complete {
                    return Ok(Step::Kept(opcode));
                }
            } else {
                keep(&mut self.message, chunk, message_bytes_max);
                if is_complete
                    && frame.is_final
                    && let Some(opcode) = self.begun.take()
                {
                    // Text is checked as a whole where it becomes a `str`.
                    return Ok(Step::Kept(opcode));
                }
                self.check_text()?;
            }
            if !is_complete {
                self.frame = Some(frame);
                return Ok(Step::More);
            }
        }
    }

    /// Completes `head` from `input`. `None`: the input is used up.
    fn take_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Error> {
        let rest = &mut self.head[self.head_bytes..];
        let bytes = rest.len().min(input.len());
        rest[..bytes].copy_from_slice(&input[..bytes]);
        match Header::parse(&self.head[..self.head_bytes + bytes])? {
            Some((header, header_bytes)) => {
                // Some of what was looked at may be payload already.
                take(input, header_bytes - self.head_bytes);
                self.head_bytes = 0;
                Ok(Some(header))
            }
            None => {
                take(input, bytes);
                self.head_bytes += bytes;
                Ok(None)
            }
        }
    }

    fn begin(&mut self, header: &Header) -> Result<Frame, Error> {
        let control = header.control();
        if control.is_none() {
            self.begun = self.begun.or(header.opcode);
        }
        Ok(Frame {
            control,
            is_final: header.is_final,
            mask: header.mask,
            // More than an address space can't be below the limit.
            rest_bytes: usize::try_from(header.payload_bytes).map_err(|_| Error::TooLarge)?,
        })
    }

    /// Whether what has come of a text may be the start of one: its last character may be incomplete, no other.
    fn check_text(&mut self) -> Result<(), Error> {
        if self.begun != Some(Opcode::Text) {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(&self.message[self.text_bytes..]) {
            Ok(_) => self.text_bytes = self.message.len(),
            Err(error) if error.error_len().is_none() => self.text_bytes += error.valid_up_to(),
            Err(_) => return Err(Error::InvalidUtf8),
        }
        Ok(())
    }
}

/// Appends `chunk`. The capacity at most doubles, and not beyond the limit: `Vec` alone would give a message just below a power
/// of two twice its memory.
fn keep(buffer: &mut Vec<u8>, chunk: &[u8], bytes_max: usize) {
    let needed = buffer.len() + chunk.len();
    if needed > buffer.capacity() {
        let capacity = needed.max(bytes_max.min(2 * buffer.capacity()));
        buffer.reserve_exact(capacity - buffer.len());
    }
    buffer.extend_from_slice(chunk);
}
