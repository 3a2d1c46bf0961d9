//! Lists of which there are very many, and nearly all of them have one or two items.

/// A longer list grows as a [`Vec`] does.
const FEW: usize = 4;

/// Puts an item at the end of a list that takes no more memory than for its few items: a `Vec` begins with room for four.
pub(crate) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() && list.len() < FEW {
        list.reserve_exact(1);
    }
    list.push(item);
}

/// Lets go of those that are not to be kept, and of the memory with the last of them.
pub(crate) fn retain<T>(list: &mut Vec<T>, keep: impl FnMut(&T) -> bool) {
    list.retain(keep);
    if list.is_empty() {
        *list = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_items_take_their_own_memory() {
        let mut list = Vec::new();
        for number in 0..100_u64 {
            push(&mut list, number);
            if list.len() <= FEW {
                assert_eq!(list.capacity(), list.len());
            }
        }
        assert!(list.iter().copied().eq(0..100));
        assert!(list.capacity() <= 2 * list.len());
        retain(&mut list, |number| *number < 2);
        assert_eq!(list, [0, 1]);
        retain(&mut list, |_| false);
        assert_eq!(list.capacity(), 0);
    }
}
