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
    }
}
