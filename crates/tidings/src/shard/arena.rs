//! Where a shard's connections and channels lie: in blocks that never move, so that one more copies none of the others, and
//! that are given back when they are empty.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use slab::Slab;

/// How many lie in one block: 28 KiB of connections. Larger ones would come from an allocator 4 MiB at a time.
const BLOCK: usize = 64;

pub(crate) struct Arena<T> {
    blocks: Vec<Slab<T>>,
    /// Blocks with a free place. The first is filled first, so that those behind it become empty.
    with_room: BTreeSet<usize>,
    len: usize,
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            with_room: BTreeSet::new(),
            len: 0,
        }
    }

    /// Puts in what `make` makes for its place; gives the place, which is taken until it is removed.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u32) -> T) -> u32 {
        let number = self.with_room.first().copied().unwrap_or(self.blocks.len());
        if number == self.blocks.len() {
            self.blocks.push(Slab::new());
            self.with_room.insert(number);
        }
        let block = &mut self.blocks[number];
        if block.capacity() < BLOCK {
            block.reserve_exact(BLOCK);
        }
        let entry = block.vacant_entry();
        let index = u32::try_from(number * BLOCK + entry.key()).expect("fewer than 2^32 of them");
        entry.insert(make(index));
        if block.len() == BLOCK {
            self.with_room.remove(&number);
        }
        self.len += 1;
        index
    }

    /// Takes out what is at a place.
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let (number, place) = split(index);
        let block = self.blocks.get_mut(number)?;
        let removed = block.try_remove(place)?;
        self.len -= 1;
        self.with_room.insert(number);
        if block.is_empty() {
            *block = Slab::new();
        }
        Some(removed)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (number, place) = split(index);
        self.blocks.get(number)?.get(place)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let (number, place) = split(index);
        self.blocks.get_mut(number)?.get_mut(place)
    }

    pub(crate) fn contains(&self, index: u32) -> bool {
        self.get(index).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All places are below this.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.blocks.len() * BLOCK).unwrap_or(u32::MAX)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten().map(|(_, item)| item)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let each = self.blocks.iter_mut().flatten();
        each.map(|(_, item)| item)
    }
}

/// The number of the block, and the place in it.
fn split(index: u32) -> (usize, usize) {
    (index as usize / BLOCK, index as usize % BLOCK)
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        let (number, place) = split(index);
        &self.blocks[number][place]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        let (number, place) = split(index);
        &mut self.blocks[number][place]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each is found at its place for as long as it is there, and empty blocks hold nothing.
        #[test]
        fn what_is_put_in_is_found(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..2_000)) {
            let mut arena = Arena::new();
            let mut expected = HashMap::new();
            for (number, (is_insert, at)) in steps.into_iter().enumerate() {
                if is_insert || expected.is_empty() {
                    let index = arena.insert_with(|index| (index, number));
                    prop_assert_eq!(expected.insert(index, number), None);
                } else {
                    let mut places: Vec<u32> = expected.keys().copied().collect();
                    places.sort_unstable();
                    let index = *at.get(&places);
                    prop_assert_eq!(arena.remove(index), expected.remove(&index).map(|number| (index, number)));
                    prop_assert_eq!(arena.remove(index), None);
                }
                prop_assert_eq!(arena.is_empty(), expected.is_empty());
            }
            for index in 0..arena.end() + 1 {
                prop_assert_eq!(arena.get(index).copied(), expected.get(&index).map(|number| (index, *number)));
            }
        }
    }

    #[test]
    fn many_come_and_go_and_nothing_is_left() {
        let mut arena = Arena::new();
        let places: Vec<u32> = (0..3 * BLOCK).map(|_| arena.insert_with(|index| index)).collect();
        assert_eq!(places, (0..3 * BLOCK as u32).collect::<Vec<_>>());
        assert_eq!(arena.blocks[1].capacity(), BLOCK);
        for index in places {
            arena.remove(index);
        }
        assert!(arena.is_empty());
        assert!(arena.blocks.iter().all(|block| block.capacity() == 0));
        assert_eq!(arena.insert_with(|_| 7), 0);
    }
}
