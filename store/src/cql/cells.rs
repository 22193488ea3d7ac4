//! Values of a row on their way in and out, checked by column. None is ever null.

use crate::{Error, Result, form};
use scylla::value::{CqlValue, Row};
use std::borrow::Cow;

/// The values of one row, in the order of its columns.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) cells: Vec<CqlValue>,
    /// What they hold, for the limits of a batch.
    pub(super) bytes: usize,
}

impl Values {
    pub(super) fn text(mut self, text: &str) -> Self {
        self.bytes += text.len();
        self.cells.push(CqlValue::Text(text.to_owned()));
        self
    }

    pub(super) fn blob(mut self, blob: &[u8]) -> Self {
        self.bytes += blob.len();
        self.cells.push(CqlValue::Blob(blob.to_vec()));
        self
    }

    pub(super) fn big(mut self, number: i64) -> Self {
        self.bytes += 8;
        self.cells.push(CqlValue::BigInt(number));
        self
    }

    pub(super) fn bigs<const N: usize>(self, numbers: [i64; N]) -> Self {
        numbers.into_iter().fold(self, Self::big)
    }

    pub(super) fn texts<const N: usize>(self, texts: [&str; N]) -> Self {
        texts.into_iter().fold(self, Self::text)
    }

    pub(super) fn blobs<const N: usize>(self, blobs: [&[u8]; N]) -> Self {
        blobs.into_iter().fold(self, Self::blob)
    }

    pub(super) fn int(mut self, number: i32) -> Self {
        self.bytes += 4;
        self.cells.push(CqlValue::Int(number));
        self
    }

    /// A frozen list of texts, numbers or blobs.
    pub(super) fn list(mut self, list: Vec<CqlValue>) -> Self {
        let bytes = |value: &CqlValue| match value {
            CqlValue::Text(text) => text.len(),
            CqlValue::Blob(blob) => blob.len(),
            _ => 8,
        };
        self.bytes += list.iter().map(bytes).sum::<usize>();
        self.cells.push(CqlValue::List(list));
        self
    }

    pub(super) fn double(mut self, number: f64) -> Self {
        self.bytes += 8;
        self.cells.push(CqlValue::Double(number));
        self
    }
}

/// The column of a partition number.
pub(super) fn partition(partition: u32) -> i32 {
    i32::try_from(partition).expect("no topic has 2^31 partitions")
}

/// The cells of a row, taken one after the other in the order of the asked columns.
pub(super) struct Cells {
    columns: std::vec::IntoIter<Option<CqlValue>>,
    at: usize,
}

impl Cells {
    pub(super) fn new(row: Row) -> Self {
        Self::of(row.columns)
    }

    pub(super) fn of(columns: Vec<Option<CqlValue>>) -> Self {
        Self { columns: columns.into_iter(), at: 0 }
    }

    /// All that were not taken.
    pub(super) fn rest(self) -> impl Iterator<Item = Option<CqlValue>> {
        self.columns
    }

    /// The next cell; `None` where it was never written.
    pub(super) fn next(&mut self) -> Option<CqlValue> {
        self.at += 1;
        self.columns.next().flatten()
    }

    fn wrong(&self, value: Option<CqlValue>) -> Error {
        let found = value.map_or("nothing".to_owned(), |value| format!("{value:?}"));
        let found: String = found.chars().take(60).collect();
        form::damaged(&format!("column {} of a row", self.at), format!("it holds {found}"))
    }

    pub(super) fn text(&mut self) -> Result<Cow<'static, str>> {
        match self.next() {
            Some(CqlValue::Text(text)) => Ok(text.into()),
            other => Err(self.wrong(other)),
        }
    }

    pub(super) fn string(&mut self) -> Result<String> {
        self.text().map(Cow::into_owned)
    }

    pub(super) fn blob(&mut self) -> Result<Cow<'static, [u8]>> {
        match self.next() {
            Some(CqlValue::Blob(blob)) => Ok(blob.into()),
            other => Err(self.wrong(other)),
        }
    }

    pub(super) fn big(&mut self) -> Result<i64> {
        match self.next() {
            Some(CqlValue::BigInt(number)) => Ok(number),
            other => Err(self.wrong(other)),
        }
    }

    pub(super) fn int(&mut self) -> Result<i32> {
        match self.next() {
            Some(CqlValue::Int(number)) => Ok(number),
            other => Err(self.wrong(other)),
        }
    }

    pub(super) fn double(&mut self) -> Result<f64> {
        match self.next() {
            Some(CqlValue::Double(number)) => Ok(number),
            other => Err(self.wrong(other)),
        }
    }

    /// An offset or another number that is never negative.
    pub(super) fn offset(&mut self) -> Result<u64> {
        let number = self.big()?;
        form::read_offset(&format!("column {}", self.at), number)
    }

    pub(super) fn count(&mut self) -> Result<u32> {
        let number = self.big()?;
        form::read_count(&format!("column {}", self.at), number)
    }

    pub(super) fn partition(&mut self) -> Result<u32> {
        let number = self.int()?;
        form::read_count("partition", i64::from(number))
    }

    pub(super) fn optional_big(&mut self) -> Result<Option<i64>> {
        match self.next() {
            None => Ok(None),
            Some(CqlValue::BigInt(number)) => Ok(Some(number)),
            other => Err(self.wrong(other)),
        }
    }

    pub(super) fn optional_int(&mut self) -> Result<Option<i32>> {
        match self.next() {
            None => Ok(None),
            Some(CqlValue::Int(number)) => Ok(Some(number)),
            other => Err(self.wrong(other)),
        }
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>> {
        match self.next() {
            None => Ok(None),
            Some(CqlValue::Text(text)) => Ok(Some(text)),
            other => Err(self.wrong(other)),
        }
    }
}
