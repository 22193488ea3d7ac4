//! Avro's zigzag variable-length integers, strict: a value has exactly one accepted encoding, so
//! that a changed byte can never decode to the same record.

/// Most bytes of one encoded integer.
pub(crate) const MAX_BYTES: usize = 10;

/// Appends the encoding of `value`.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends the encoding of a length.
pub(crate) fn put_len(out: &mut Vec<u8>, len: usize) {
    put(out, len as i64);
}

/// Takes one integer off the front; `None` if it is cut short, too long or not minimal.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<i64> {
    let all = *bytes;
    let mut value = 0_u64;
    for (place, byte) in all.iter().take(MAX_BYTES).enumerate() {
        let low = u64::from(byte & 0x7f);
        if place == MAX_BYTES - 1 && low > 1 {
            return None;
        }
        value |= low << (7 * place);
        if byte & 0x80 == 0 {
            if *byte == 0 && place > 0 {
                return None;
            }
            *bytes = &all[place + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Takes a length or count: an integer that is not negative.
pub(crate) fn take_len(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(take(bytes)?).ok()
}

/// Takes `len` raw bytes.
pub(crate) fn take_raw<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

/// Takes a length and that many bytes.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_len(bytes)?;
    take_raw(bytes, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_value_comes_back(value: i64) {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut rest = out.as_slice();
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn accepted_bytes_are_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = bytes.as_slice();
            if let Some(value) = take(&mut rest) {
                let mut again = Vec::new();
                put(&mut again, value);
                prop_assert_eq!(&bytes[..bytes.len() - rest.len()], again.as_slice());
            }
        }
    }
}
