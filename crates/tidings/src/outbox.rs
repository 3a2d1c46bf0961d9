//! The outbox: what waits to be written to one connection.
//!
//! It holds bytes that are already framed, shared between all the connections they go to. Empty it has no heap memory.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

#[derive(Default, Debug)]
pub(crate) struct Outbox {
    /// The chunk to write next; empty when there is none.
    first: Bytes,
    rest: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.bytes += chunk.len();
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            self.rest.push_back(chunk);
        }
    }

    /// Moves all that waits in `other` to the end.
    pub(crate) fn append(&mut self, other: &mut Outbox) {
        while let Some(chunk) = other.pop() {
            self.push(chunk);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The only chunk, where there is just one: a plain write is cheaper than a vectored one.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        self.rest.is_empty().then_some(&self.first[..])
    }

    /// Fills `slices` from the front; returns how many are filled.
    pub(crate) fn fill_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let chunks = std::iter::once(&self.first)
            .chain(&self.rest)
            .filter(|chunk| !chunk.is_empty());
        slices
            .iter_mut()
            .zip(chunks)
            .map(|(slice, chunk)| *slice = IoSlice::new(chunk))
            .count()
    }

    /// Takes `written` bytes off the front.
    pub(crate) fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let taken = written.min(self.first.len());
            self.first.advance(taken);
            written -= taken;
            if self.first.is_empty() {
                self.next_chunk();
            }
        }
    }

    /// Takes the first chunk.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let chunk = std::mem::take(&mut self.first);
        self.bytes -= chunk.len();
        self.next_chunk();
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Lets go of all but the first chunk, of which a part may be written.
    pub(crate) fn keep_first(&mut self) {
        self.rest = VecDeque::new();
        self.bytes = self.first.len();
    }

    fn next_chunk(&mut self) {
        match self.rest.pop_front() {
            Some(chunk) => self.first = chunk,
            None => {
                self.first = Bytes::new();
                self.rest = VecDeque::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However it is drained, the bytes come out as they went in, and the count is right.
        #[test]
        fn bytes_leave_in_order(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20), steps in prop::collection::vec(1_usize..30, 0..60)) {
            let mut outbox = Outbox::default();
            for chunk in &chunks {
                outbox.push(Bytes::from(chunk.clone()));
            }
            let expected = chunks.concat();
            let mut written = Vec::new();
            for step in steps {
                prop_assert_eq!(outbox.bytes(), expected.len() - written.len());
                let mut slices = [IoSlice::new(&[]); 3];
                let count = outbox.fill_slices(&mut slices);
                let offered: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                let taken = step.min(offered.len());
                written.extend_from_slice(&offered[..taken]);
                outbox.consume(taken);
            }
            while let Some(chunk) = outbox.pop() {
                written.extend_from_slice(&chunk);
            }
            prop_assert_eq!(written, expected);
            prop_assert!(outbox.is_empty() && outbox.bytes() == 0);
        }
    }
}
