//! Avro data of our own schemas, by position: every type reads and writes its own bytes, and records
//! their fields in order, without asking the schema. Tests hold records and symbols to the schema,
//! and the bytes to those of the Avro library.
//!
//! Texts and bytes are borrowed from the input: nothing is allocated whose bytes are not there. What
//! other schemas wrote does not get here; `codec::book` brings it over first.

use crate::{Error, Result as Outcome, limits};
use std::{borrow::Cow, collections::BTreeMap};

/// Reads a datum that takes all of the bytes into an empty value.
///
/// # Errors
/// [`Error::Decode`].
#[inline]
pub(crate) fn read<'de, T: ReadDatum<'de>>(mut datum: &'de [u8], into: &mut T) -> Outcome<()> {
    take(&mut datum, into)?;
    no_rest(datum)
}

/// Refuses bytes after a datum: neither we nor the Avro library read further than it.
///
/// # Errors
/// [`Error::Decode`].
#[inline]
pub(crate) fn no_rest(rest: &[u8]) -> Outcome<()> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(Error::Decode(format!("{} bytes follow the record", rest.len())))
}

/// Takes a datum off the front of the bytes, into an empty value.
///
/// # Errors
/// [`Error::Decode`]; the bytes then stay as they were.
#[inline]
pub(crate) fn take<'de, T: ReadDatum<'de>>(bytes: &mut &'de [u8], into: &mut T) -> Outcome<()> {
    let mut from = Reader { rest: bytes };
    match into.fill(&mut from) {
        Ok(()) => {
            *bytes = from.rest;
            Ok(())
        }
        Err(malformed) => {
            let at = bytes.len() - from.rest.len();
            Err(Error::Decode(format!("{malformed}, at byte {at} of the datum")))
        }
    }
}

/// Why bytes are no datum of ours. One byte, since every field may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the bytes end early")]
    Short,
    #[error("a number takes more than ten bytes")]
    Number,
    #[error("a number does not fit into 32 bits")]
    Int,
    #[error("a length is negative or beyond the limit")]
    Length,
    #[error("a text is not UTF-8")]
    Text,
    #[error("a flag is neither 0 nor 1")]
    Flag,
    #[error("a union has no such branch")]
    Branch,
    #[error("an enum has no such symbol")]
    Symbol,
}

/// A value or why the bytes are none.
pub(crate) type Read<T> = std::result::Result<T, Malformed>;

/// What is read by position.
pub(crate) trait ReadDatum<'de>: Sized {
    /// Reads its own bytes off the front.
    fn read(from: &mut Reader<'de>) -> Read<Self>;

    /// Reads into a value that is as [`Default`] makes it. Of the wide record most fields are null,
    /// and then there is nothing to write; nor is it moved.
    #[inline]
    fn fill(&mut self, from: &mut Reader<'de>) -> Read<()> {
        *self = Self::read(from)?;
        Ok(())
    }
}

/// What is written by position.
pub(crate) trait WriteDatum {
    /// Appends its bytes.
    fn write(&self, to: &mut Writer<'_>);
}

/// Bytes that are read from the front.
pub(crate) struct Reader<'de> {
    rest: &'de [u8],
}

impl<'de> Reader<'de> {
    /// Most numbers, lengths, branches and symbols take one byte.
    #[inline]
    pub(crate) fn long(&mut self) -> Read<i64> {
        match self.rest {
            &[byte, ref rest @ ..] if byte < 0x80 => {
                self.rest = rest;
                Ok(unzigzag(u64::from(byte)))
            }
            _ => self.long_number(),
        }
    }

    /// At most ten bytes, of which the last one holds the highest bit. As in the Avro libraries for
    /// Rust and Java, what else stands in that byte is dropped, and a number may be longer than it
    /// need be: a record must not be legal to one build and garbage to another.
    fn long_number(&mut self) -> Read<i64> {
        let mut number = 0;
        for (at, &byte) in self.rest.iter().enumerate().take(MOST_NUMBER_BYTES) {
            number |= u64::from(byte & 0x7F) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(unzigzag(number));
            }
        }
        let is_short = self.rest.len() < MOST_NUMBER_BYTES;
        Err(if is_short { Malformed::Short } else { Malformed::Number })
    }

    /// The given number of bytes.
    #[inline]
    fn bytes(&mut self, length: usize) -> Read<&'de [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*array)
    }

    /// Bytes after their length.
    #[inline]
    pub(crate) fn counted(&mut self) -> Read<&'de [u8]> {
        let length = usize::try_from(self.long()?).map_err(|_| Malformed::Length)?;
        if length > limits::DECODE_BYTES {
            return Err(Malformed::Length);
        }
        self.bytes(length)
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Read<&'de str> {
        std::str::from_utf8(self.counted()?).map_err(|_| Malformed::Text)
    }

    /// Whether the next byte is a zero, which it then takes: a null, or an empty array or map.
    #[inline]
    fn is_zero(&mut self) -> bool {
        match self.rest {
            [0, rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Which branch of a union of null and one other: whether it is the other.
    #[inline]
    fn is_some(&mut self) -> Read<bool> {
        if self.is_zero() {
            return Ok(false);
        }
        match self.long()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Branch),
        }
    }

    /// The items of an array or a map, which come in blocks. Each takes a byte at least, so that no
    /// count asks for more work than the bytes that are there.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        loop {
            let count = self.long()?;
            match count {
                0 => return Ok(()),
                // The block's size in bytes follows, for readers that skip it.
                ..0 => drop(self.long()?),
                1.. => {}
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }
}

/// Bytes of the longest number: 64 bits, seven in each byte.
const MOST_NUMBER_BYTES: usize = 10;

#[inline]
fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Bytes that are written at the end.
pub(crate) struct Writer<'v> {
    to: &'v mut Vec<u8>,
    /// Zeros that are not there yet: most fields of the wide record are null, one after the other.
    zeros: usize,
}

impl Writer<'_> {
    /// What else is written comes after the zeros.
    #[inline]
    fn end(&mut self) -> &mut Vec<u8> {
        if self.zeros > 0 {
            self.to.resize(self.to.len() + self.zeros, 0);
            self.zeros = 0;
        }
        self.to
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.end().extend_from_slice(bytes);
    }

    #[inline]
    pub(crate) fn long(&mut self, number: i64) {
        match ((number << 1) ^ (number >> 63)) as u64 {
            0 => self.zeros += 1,
            short @ 1..0x80 => self.end().push(short as u8),
            long => self.long_number(long),
        }
    }

    fn long_number(&mut self, mut rest: u64) {
        let mut bytes = [0; MOST_NUMBER_BYTES];
        let mut length = 0;
        while rest >= 0x80 {
            bytes[length] = rest as u8 | 0x80;
            rest >>= 7;
            length += 1;
        }
        bytes[length] = rest as u8;
        self.bytes(&bytes[..=length]);
    }

    /// Bytes after their length.
    #[inline]
    pub(crate) fn counted(&mut self, bytes: &[u8]) {
        self.long(bytes.len() as i64);
        self.bytes(bytes);
    }
}

/// Appends a datum.
#[inline]
pub(crate) fn write<T: WriteDatum>(value: &T, to: &mut Vec<u8>) {
    let mut writer = Writer { to, zeros: 0 };
    value.write(&mut writer);
    writer.end();
}

impl<'de> ReadDatum<'de> for i64 {
    #[inline]
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        from.long()
    }
}

impl WriteDatum for i64 {
    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        to.long(*self);
    }
}

impl<'de> ReadDatum<'de> for i32 {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        i32::try_from(from.long()?).map_err(|_| Malformed::Int)
    }
}

impl WriteDatum for i32 {
    fn write(&self, to: &mut Writer<'_>) {
        to.long(i64::from(*self));
    }
}

impl<'de> ReadDatum<'de> for bool {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        match from.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [_] => Err(Malformed::Flag),
        }
    }
}

impl WriteDatum for bool {
    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(&[u8::from(*self)]);
    }
}

impl<'de> ReadDatum<'de> for f64 {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        from.array().map(Self::from_le_bytes)
    }
}

impl WriteDatum for f64 {
    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(&self.to_le_bytes());
    }
}

impl<'de: 'a, 'a> ReadDatum<'de> for Cow<'a, str> {
    #[inline]
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        from.text().map(Cow::Borrowed)
    }
}

impl WriteDatum for Cow<'_, str> {
    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        to.counted(self.as_bytes());
    }
}

/// Apart from the test for null, which stands wherever a field is read: most are, and a call for each of them
/// makes decoding a tenth slower.
#[inline(never)]
fn fill_some<'de, T: ReadDatum<'de>>(into: &mut Option<T>, from: &mut Reader<'de>) -> Read<()> {
    if from.is_some()? {
        *into = Some(T::read(from)?);
    }
    Ok(())
}

/// A union of null and one other, in this order.
impl<'de, T: ReadDatum<'de>> ReadDatum<'de> for Option<T> {
    #[inline]
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        if from.is_some()? { T::read(from).map(Some) } else { Ok(None) }
    }

    #[inline(always)]
    fn fill(&mut self, from: &mut Reader<'de>) -> Read<()> {
        if from.is_zero() { Ok(()) } else { fill_some(self, from) }
    }
}

impl<T: WriteDatum> WriteDatum for Option<T> {
    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        match self {
            None => to.long(0),
            Some(value) => {
                to.long(1);
                value.write(to);
            }
        }
    }
}

impl<'de, T: ReadDatum<'de>> ReadDatum<'de> for Box<T> {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        T::read(from).map(Box::new)
    }
}

impl<T: WriteDatum> WriteDatum for Box<T> {
    fn write(&self, to: &mut Writer<'_>) {
        T::write(self, to);
    }
}

/// An array.
impl<'de, T: ReadDatum<'de>> ReadDatum<'de> for Vec<T> {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        let mut items = Self::new();
        from.blocks(|from| {
            items.push(T::read(from)?);
            Ok(())
        })?;
        Ok(items)
    }
}

impl<T: WriteDatum> WriteDatum for Vec<T> {
    fn write(&self, to: &mut Writer<'_>) {
        if !self.is_empty() {
            to.long(self.len() as i64);
            self.iter().for_each(|item| item.write(to));
        }
        to.long(0);
    }
}

/// A map of texts. Where a key is there twice, the last value counts.
impl<'de> ReadDatum<'de> for Cow<'_, BTreeMap<String, String>> {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        let mut map = BTreeMap::new();
        from.blocks(|from| {
            let key = from.text()?.to_owned();
            map.insert(key, from.text()?.to_owned());
            Ok(())
        })?;
        Ok(Cow::Owned(map))
    }

    #[inline]
    fn fill(&mut self, from: &mut Reader<'de>) -> Read<()> {
        if !from.is_zero() {
            *self = Self::read(from)?;
        }
        Ok(())
    }
}

impl WriteDatum for Cow<'_, BTreeMap<String, String>> {
    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        if !self.is_empty() {
            to.long(self.len() as i64);
            for (key, value) in &**self {
                to.counted(key.as_bytes());
                to.counted(value.as_bytes());
            }
        }
        to.long(0);
    }
}
