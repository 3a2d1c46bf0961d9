//! Which of the things in an arena has a key: a table of their places, which reads the keys where they lie.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::arena::Arena;

/// What is found by a key of its own, which must not change while it can be.
pub(crate) trait Keyed {
    type Key: Hash + Eq + ?Sized;

    fn key(&self) -> &Self::Key;
}

#[derive(Default)]
pub(crate) struct Places {
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Places {
    pub(crate) fn find<T: Keyed>(&self, key: &T::Key, items: &Arena<T>) -> Option<u32> {
        let has_key = |place: &u32| items.get(*place).is_some_and(|item| item.key() == key);
        self.table.find(self.hasher.hash_one(key), has_key).copied()
    }

    /// Notes what is at a place, whose key nothing else has.
    pub(crate) fn insert<T: Keyed>(&mut self, place: u32, items: &Arena<T>) {
        let hash = |place: &u32| self.hasher.hash_one(items[*place].key());
        self.table.insert_unique(hash(&place), place, hash);
    }

    /// Forgets what was, or is, at a place.
    pub(crate) fn remove<T: Keyed>(&mut self, key: &T::Key, place: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(found) = self.table.find_entry(hash, |found| *found == place) {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    impl Keyed for String {
        type Key = str;

        fn key(&self) -> &str {
            self
        }
    }

    proptest! {
        /// It finds what a map of the keys would.
        #[test]
        fn what_has_a_key_is_found_by_it(steps in prop::collection::vec((any::<bool>(), 0..200_u32), 0..2_000)) {
            let (mut items, mut places) = (Arena::new(), Places::default());
            let mut expected: HashMap<String, u32> = HashMap::new();
            for (is_insert, number) in steps {
                let key = number.to_string();
                match expected.remove(&key) {
                    None if is_insert => {
                        let place = items.insert_with(|_| key.clone());
                        places.insert(place, &items);
                        expected.insert(key, place);
                    }
                    None => prop_assert_eq!(places.find::<String>(&key, &items), None),
                    Some(place) if is_insert => {
                        prop_assert_eq!(places.find::<String>(&key, &items), Some(place));
                        expected.insert(key, place);
                    }
                    Some(place) => {
                        places.remove::<String>(&key, place);
                        prop_assert_eq!(items.remove(place), Some(key));
                    }
                }
            }
            for (key, place) in expected {
                prop_assert_eq!(places.find::<String>(&key, &items), Some(place));
            }
        }
    }
}
