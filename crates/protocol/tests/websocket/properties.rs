//! Any messages, in any fragments, under any split, come out as they went in.

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_protocol::websocket::Error;

use crate::client::{
    BINARY, CLOSE, CONTINUATION, FIN, Heard, LengthForm, PING, PONG, Said, TEXT, close_payload, frame, frame_as, hear,
};

/// What a client says, with all that is left to it in how to say it.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) said: Said,
    /// Where a message is cut into fragments: lengths of all but the last.
    pub(crate) fragments: Vec<usize>,
    /// Which of the fragments are followed by a ping.
    pub(crate) pings: Vec<bool>,
    pub(crate) mask: [u8; 4],
    pub(crate) form: LengthForm,
}

impl Spoken {
    /// Appends the frames to `stream`, and what is to be heard of them to `said`.
    pub(crate) fn speak(&self, stream: &mut Vec<u8>, said: &mut Vec<Said>) {
        let (opcode, payload) = match &self.said {
            Said::Text(text) => (TEXT, text.as_bytes().to_vec()),
            Said::Binary(bytes) => (BINARY, bytes.clone()),
            Said::Ping(bytes) => (PING, bytes.clone()),
            Said::Pong(bytes) => (PONG, bytes.clone()),
            Said::Close(None, _) => (CLOSE, Vec::new()),
            Said::Close(Some(code), reason) => (CLOSE, close_payload(*code, reason.as_bytes())),
        };
        let mut rest = &payload[..];
        let mut opcode_next = opcode;
        if opcode < CLOSE {
            for (index, &bytes) in self.fragments.iter().enumerate() {
                let (fragment, after) = rest.split_at(bytes.min(rest.len()));
                stream.extend(frame_as(opcode_next, fragment, self.mask, self.form));
                if self.pings.get(index) == Some(&true) {
                    stream.extend(frame(FIN | PING, &[index as u8]));
                    said.push(Said::Ping(vec![index as u8]));
                }
                opcode_next = CONTINUATION;
                rest = after;
            }
        }
        stream.extend(frame_as(FIN | opcode_next, rest, self.mask, self.form));
        said.push(self.said.clone());
    }
}

pub(crate) fn speak(spoken: &[Spoken]) -> (Vec<u8>, Vec<Said>) {
    let (mut stream, mut said) = (Vec::new(), Vec::new());
    for each in spoken {
        each.speak(&mut stream, &mut said);
    }
    (stream, said)
}

fn sizes_of_payload() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..40_usize, 3 => 120..132_usize, 1 => 65_530..65_541_usize]
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => any::<String>().prop_map(Said::Text),
        2 => ("[a-zé€😀]", sizes_of_payload()).prop_map(|(text, count)| Said::Text(text.repeat(count / text.len()))),
        3 => (any::<u8>(), sizes_of_payload()).prop_map(|(byte, count)| Said::Binary(vec![byte; count])),
        2 => vec(any::<u8>(), 0..200).prop_map(Said::Binary),
        1 => vec(any::<u8>(), 0..=125).prop_map(Said::Ping),
        1 => vec(any::<u8>(), 0..=125).prop_map(Said::Pong),
    ]
}

pub(crate) fn spoken() -> impl Strategy<Value = Spoken> {
    let form = prop_oneof![4 => Just(LengthForm::Shortest), 1 => Just(LengthForm::Two), 1 => Just(LengthForm::Eight)];
    let fragments = prop_oneof![2 => Just(Vec::new()), 1 => vec(0..30_usize, 0..5)];
    (said(), fragments, vec(any::<bool>(), 5), any::<[u8; 4]>(), form).prop_map(
        |(said, fragments, pings, mask, form)| Spoken {
            said,
            fragments,
            pings,
            mask,
            form,
        },
    )
}

pub(crate) fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        1 => Just(Vec::new()),
        1 => Just(vec![1]),
        3 => vec(1..20_usize, 1..20),
        3 => vec(prop_oneof![1..20_usize, 100..5000_usize, Just(100_000_usize)], 1..20),
    ]
}

proptest! {
    #[test]
    fn any_messages_in_any_pieces(spoken in vec(spoken(), 0..6), sizes in sizes()) {
        let (stream, said) = speak(&spoken);
        let heard = hear(&stream, &sizes, 200_000);
        prop_assert_eq!(heard, Heard { said, error: None, buffered_bytes: 0 });
    }

    #[test]
    fn any_close(code in prop_oneof![1000..=1003_u16, 1007..=1014_u16, 3000..=4999_u16], reason in "\\PC{0,30}", sizes in sizes()) {
        let heard = hear(&frame(FIN | CLOSE, &close_payload(code, reason.as_bytes())), &sizes, 0);
        prop_assert_eq!(heard.said, vec![Said::Close(Some(code), reason)]);
    }

    /// The standard library says of each prefix whether it can still become text; so do we, at the same byte.
    #[test]
    fn invalid_text_is_refused_at_its_first_wrong_byte(
        start in "[aé€😀]{0,40}",
        wrong in vec(any::<u8>(), 0..6),
        middle in any::<prop::sample::Index>(),
    ) {
        let payload = [start.as_bytes(), &wrong, &[b'a'; 10]].concat();
        let (first, last) = payload.split_at(middle.index(payload.len()));
        let header_bytes = |payload: &[u8]| if payload.len() < 126 { 6 } else { 8 };
        let last_frame = frame(CONTINUATION, last);
        for bytes in 1..=payload.len() {
            let stream = match bytes.checked_sub(first.len()) {
                None => frame(TEXT, first)[..header_bytes(first) + bytes].to_vec(),
                Some(of_last) => [&frame(TEXT, first)[..], &last_frame[..header_bytes(last) + of_last]].concat(),
            };
            let is_wrong = str::from_utf8(&payload[..bytes]).is_err_and(|error| error.error_len().is_some());
            let expected = is_wrong.then_some(Error::InvalidUtf8);
            prop_assert_eq!(hear(&stream, &[], 1000).error, expected, "whole, {} bytes", bytes);
            prop_assert_eq!(hear(&stream, &[1], 1000).error, expected, "byte by byte, {} bytes", bytes);
        }
    }

    #[test]
    fn any_bytes_in_any_pieces(bytes in vec(any::<u8>(), 0..300), sizes in sizes(), max in 0..200_usize) {
        prop_assert_eq!(hear(&bytes, &sizes, max), hear(&bytes, &[], max));
    }
}
