//! Records as they come from Kafka.

use super::batch::time_of;
use crate::Record;
use bytes::Bytes;
use rdkafka::{
    Message,
    message::{BorrowedHeaders, BorrowedMessage, Headers},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A record of its own, so that the client's buffer is not held. `None` for a logical offset.
pub(crate) fn of_message(message: &BorrowedMessage<'_>) -> Option<Record> {
    Some(Record {
        offset: u64::try_from(message.offset()).ok()?,
        timestamp: time_of(message),
        key: message.key().map(Bytes::copy_from_slice),
        headers: message.headers().map(headers).unwrap_or_default(),
        value: message.payload().map(Bytes::copy_from_slice),
    })
}

fn headers(headers: &BorrowedHeaders) -> Vec<(String, Bytes)> {
    (0..headers.count()).map(|at| header(headers, at)).collect()
}

/// A header whose value is null comes back empty. The client panics on a name that is not UTF-8,
/// which a foreign producer may have written: such a header is shown by a stand-in, so that one bad
/// record cannot stop a partition.
fn header(headers: &BorrowedHeaders, at: usize) -> (String, Bytes) {
    let read = catch_unwind(AssertUnwindSafe(|| {
        let header = headers.get(at);
        (header.key.to_owned(), header.value.map_or_else(Bytes::new, Bytes::copy_from_slice))
    }));
    read.unwrap_or_else(|_| (char::REPLACEMENT_CHARACTER.to_string(), Bytes::new()))
}
