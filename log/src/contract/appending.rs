//! What an append promises: contiguous offsets, whole batches, identical bytes, refusals by name.

use super::{EVERYTHING, Fresh, is_waiting, number, numbered};
use crate::{Error, EventLog, NewRecord, PartitionReader, Result, Urgency, limits};
use bytes::Bytes;
use tokio::task::JoinSet;

pub(super) async fn offsets_are_contiguous_from_zero<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    assert_eq!(fresh.bounds(0).await?.end, 0, "a fresh partition is empty");
    let first = fresh.append(0, vec![numbered(0)]).await?;
    let second = fresh.append(0, (1..=3).map(numbered).collect()).await?;
    let third = fresh.append(0, vec![numbered(4)]).await?;
    assert_eq!((first.first_offset, first.last_offset), (0, 0));
    assert_eq!((second.first_offset, second.last_offset), (1, 3));
    assert_eq!((third.first_offset, third.last_offset), (4, 4));
    let bounds = fresh.bounds(0).await?;
    assert_eq!((bounds.first, bounds.end), (0, 5));
    Ok(())
}

pub(super) async fn every_byte_comes_back<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    let batch = unusual_records();
    let appended = fresh.append(0, batch.clone()).await?;
    let records = fresh.read_from(0, 0).await?;
    assert_eq!(records.len(), batch.len());
    for ((record, sent), offset) in records.iter().zip(&batch).zip(0..) {
        assert_eq!(record.offset, offset);
        assert!(record.timestamp <= appended.timestamp, "the time of the last record is told");
        assert_eq!(record.key, sent.key, "key of record {offset}");
        assert_eq!(record.headers, sent.headers, "headers of record {offset}");
        assert_eq!(record.value, sent.value, "value of record {offset}");
    }
    assert!(records.is_sorted_by_key(|record| record.timestamp), "time goes forward");
    let last = records.last().map(|record| record.timestamp);
    assert_eq!(last, Some(appended.timestamp), "readers see the time that was told");
    Ok(())
}

/// Tombstones, empty keys and values, repeated and empty headers, every byte value, large values.
fn unusual_records() -> Vec<NewRecord> {
    let every_byte: Bytes = (0..=255).collect();
    let header = |name: &str, value: &Bytes| (name.to_owned(), value.clone());
    let repeated = vec![
        header("again", &every_byte),
        header("other", &Bytes::new()),
        header("again", &Bytes::from_static(b"second")),
        header("", &Bytes::from_static(b"nameless")),
        header("größe", &Bytes::from_static(b"\0")),
    ];
    let plain = |key: Option<&Bytes>, value: Option<&Bytes>| NewRecord {
        key: key.cloned(),
        headers: Vec::new(),
        value: value.cloned(),
    };
    let large = Bytes::from(vec![0xC3; 600_000]);
    let framed = [&[0xC3, 0x01, 1, 2, 3, 4, 5, 6, 7, 8][..], &every_byte].concat().into();
    vec![
        plain(None, None),
        plain(Some(&Bytes::new()), Some(&Bytes::new())),
        plain(Some(&every_byte), None),
        plain(None, Some(&every_byte)),
        NewRecord { key: None, headers: repeated.clone(), value: None },
        NewRecord { key: Some(every_byte.clone()), headers: repeated, value: Some(large) },
        plain(None, Some(&framed)),
        plain(None, Some(&framed.slice(..10))),
    ]
}

pub(super) async fn concurrent_batches_never_interleave<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let fresh = fresh.clone();
        callers.spawn(async move {
            let mut offsets = Vec::new();
            for turn in 0..5 {
                let start = caller * 1000 + turn * 10;
                let batch = (start..start + 1 + caller % 4).map(numbered).collect();
                offsets.push((start, fresh.append(0, batch).await?));
            }
            Ok::<_, Error>(offsets)
        });
    }
    let outcomes = callers.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    let records = fresh.read_from(0, 0).await?;
    let sent: u64 = (0..20).map(|caller| 5 * (1 + caller % 4)).sum();
    assert_eq!(records.len() as u64, sent, "each record once");
    for caller in &outcomes {
        assert!(caller.is_sorted_by_key(|(_, at)| at.first_offset), "a caller's appends in order");
        for (start, at) in caller {
            for offset in at.offsets() {
                let expected = start + offset - at.first_offset;
                assert_eq!(number(&records[offset as usize]), Some(expected), "offset {offset}");
            }
        }
    }
    Ok(())
}

pub(super) async fn a_caller_reads_its_own_acknowledged_append<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    for turn in 0..50 {
        let at = fresh.append(0, vec![numbered(turn)]).await?;
        assert_eq!(fresh.bounds(0).await?.end, at.last_offset + 1, "the end follows the reply");
        let mut reader = fresh.log.reader(&fresh.partition(0), at.first_offset).await?;
        let records = reader.next(EVERYTHING).await?;
        assert_eq!(records.first().and_then(number), Some(turn));
    }
    Ok(())
}

pub(super) async fn partitions_are_apart<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    assert_eq!(fresh.log.partitions(&fresh.topic).await?, 3);
    for partition in [2, 0, 2] {
        fresh.append(partition, vec![numbered(u64::from(partition))]).await?;
    }
    for (partition, expected) in [(0, 1), (1, 0), (2, 2)] {
        let records = fresh.read_from(partition, 0).await?;
        assert_eq!(records.len(), expected, "records of partition {partition}");
        assert!(records.iter().all(|record| number(record) == Some(u64::from(partition))));
    }
    Ok(())
}

pub(super) async fn missing_places_are_refused_by_name<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    let is_missing = |error: Option<Error>| matches!(error, Some(Error::Missing(_)));
    let append = fresh.append(2, vec![numbered(0)]).await;
    assert!(is_missing(append.err()), "append to a missing partition");
    assert!(is_missing(fresh.bounds(2).await.err()), "bounds of a missing partition");
    let reader = fresh.log.reader(&fresh.partition(2), 0).await;
    assert!(is_missing(reader.err()), "reader of a missing partition");
    let reader = fresh.log.reader(&fresh.partition(0), 1).await;
    assert!(is_missing(reader.err()), "reader beyond the end");
    let partitions = fresh.log.partitions("no.such.topic").await;
    assert!(is_missing(partitions.err()), "partitions of a missing topic");
    assert!(is_missing(fresh.log.join("no.such.topic", "group").await.err()), "group of it");
    Ok(())
}

pub(super) async fn too_large_and_empty_batches_are_refused_whole<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    let large = NewRecord::plain(None, Bytes::from(vec![0; limits::RECORD_BYTES + 1]));
    let refusal = fresh.append(0, vec![numbered(0), large]).await;
    assert!(matches!(refusal, Err(Error::TooLarge { .. })), "a record over the limit");
    assert!(!refusal.is_err_and(|error| error.is_retryable() || error.is_ambiguous()));
    let many = vec![numbered(0); limits::BATCH_RECORDS + 1];
    let refusal = fresh.append(0, many).await;
    assert!(matches!(refusal, Err(Error::TooLarge { .. })), "a batch over the limit");
    let refusal = fresh.append(0, Vec::new()).await;
    assert!(matches!(refusal, Err(Error::Refused(_))), "an empty batch");
    assert_eq!(fresh.bounds(0).await?.end, 0, "nothing was appended");
    Ok(())
}

pub(super) async fn a_dropped_append_is_whole_or_absent<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    let batch = (0..4).map(numbered).collect();
    // Polled once and dropped: the log may or may not have taken it, but never a part of it.
    is_waiting(fresh.log.append(&fresh.partition(0), batch, Urgency::Outcome));
    let at = fresh.append(0, vec![numbered(4)]).await?;
    assert!([0, 4].contains(&at.first_offset), "a part of a batch: {at:?}");
    let numbers: Vec<_> = fresh.read_from(0, 0).await?.iter().filter_map(number).collect();
    assert!(numbers == [4] || numbers == [0, 1, 2, 3, 4], "{numbers:?}");
    Ok(())
}
