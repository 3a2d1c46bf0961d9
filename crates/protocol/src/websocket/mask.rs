//! The mask over a client's payload (RFC 6455, section 5.3).

/// Takes the mask off `payload`, whose first byte is under `mask[0]`.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::unmask;

    #[test]
    fn each_byte_is_under_its_own_byte_of_the_mask() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        for bytes in 0..70 {
            let mut payload: Vec<u8> = (0..bytes).collect();
            let expected: Vec<u8> = (0..bytes).map(|index| index ^ mask[usize::from(index) % 4]).collect();
            unmask(&mut payload, mask);
            assert_eq!(payload, expected, "{bytes} bytes");
        }
    }
}
