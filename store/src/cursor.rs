//! Where a list goes on: an opaque text that is safe in a URL and names the last row that was given.

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// The cursor after a row, as hexadecimal digits of JSON.
pub(crate) fn write(list: &str, after: &impl Serialize) -> Result<String> {
    use std::fmt::Write as _;
    let json = crate::form::write_json("cursor", &(list, after))?;
    Ok(json.bytes().fold(String::with_capacity(2 * json.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The row that a cursor stands behind.
///
/// # Errors
/// [`Error::BadQuery`] when no store made it for this list.
pub(crate) fn read<T: DeserializeOwned>(list: &str, cursor: &str) -> Result<T> {
    let wrong = || Error::BadQuery("cursor: not one that this list gave".into());
    let json = unhex(cursor).ok_or_else(wrong)?;
    let (of, after): (String, T) = serde_json::from_slice(&json).map_err(|_| wrong())?;
    if of == list { Ok(after) } else { Err(wrong()) }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    #[test]
    fn cursors_read_back_and_only_for_their_list() {
        let cursor = write("runs", &(5, "é/\u{1F980}")).unwrap();
        assert!(cursor.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(read::<(i64, String)>("runs", &cursor).unwrap(), (5, "é/\u{1F980}".into()));
        read::<(i64, String)>("letters", &cursor).unwrap_err();
        read::<(i64, String)>("runs", &cursor[1..]).unwrap_err();
        read::<(i64, String)>("runs", &format!("{cursor}00")).unwrap_err();
    }
}
