//! What a reader promises: order, no gaps, limits, waiting at the end, and safety when dropped.

use super::{EVERYTHING, Fresh, is_waiting, number, numbered, read_until};
use crate::{Error, EventLog, NewRecord, PartitionReader, ReadLimit, Result};
use spine_schemas::time::Micros;

pub(super) async fn any_offset_can_be_read_from<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    fresh.fill(0, 20).await?;
    for from in 0..=20 {
        let records = fresh.read_from(0, from).await?;
        let numbers: Vec<_> = records.iter().filter_map(number).collect();
        assert_eq!(numbers, (from..20).collect::<Vec<_>>(), "from {from}");
        assert!(records.iter().zip(from..).all(|(record, offset)| record.offset == offset));
    }
    Ok(())
}

pub(super) async fn reads_keep_their_limits<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    fresh.append(0, (0..30).map(numbered).collect()).await?;
    let mut reader = fresh.log.reader(&fresh.partition(0), 0).await?;
    let mut seen = 0;
    while seen < 30 {
        let records = reader.next(ReadLimit { records: 4, bytes: usize::MAX }).await?;
        assert!((1..=4).contains(&records.len()), "{} records", records.len());
        assert!(records.iter().zip(seen..).all(|(record, offset)| record.offset == offset));
        seen += records.len() as u64;
    }
    let mut reader = fresh.log.reader(&fresh.partition(0), 0).await?;
    for offset in 0..30 {
        let records = reader.next(ReadLimit { records: 100, bytes: 1 }).await?;
        assert_eq!(records.len(), 1, "one record however large, and no second");
        assert_eq!(records.first().map(|record| record.offset), Some(offset));
    }
    Ok(())
}

pub(super) async fn a_reader_at_the_end_waits_and_then_sees<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    for start in [0, 3] {
        let mut reader = fresh.log.reader(&fresh.partition(0), start).await?;
        let waiting = tokio::spawn(async move { read_until(&mut reader, start, start + 3).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "a reader returned although there is nothing");
        fresh.append(0, (start..start + 3).map(numbered).collect()).await?;
        let Ok(records) = waiting.await else {
            return Err(Error::Unavailable("the reading task ended early".into()));
        };
        let numbers: Vec<_> = records?.iter().filter_map(number).collect();
        assert_eq!(numbers, [start, start + 1, start + 2]);
    }
    Ok(())
}

pub(super) async fn a_dropped_read_loses_nothing<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    let mut reader = fresh.log.reader(&fresh.partition(0), 0).await?;
    assert!(is_waiting(reader.next(EVERYTHING)), "the partition is empty");
    for round in 0..10 {
        fresh.append(0, vec![numbered(2 * round), numbered(2 * round + 1)]).await?;
        // Polled once and dropped while it may be in the middle of its work.
        let mut seen = 2 * round;
        let dropped = tokio::select! {
            biased;
            records = reader.next(EVERYTHING) => records?,
            () = std::future::ready(()) => Vec::new(),
        };
        seen += dropped.len() as u64;
        let rest = read_until(&mut reader, seen, 2 * round + 2).await?;
        let numbers: Vec<_> = dropped.iter().chain(&rest).filter_map(number).collect();
        assert_eq!(numbers, [2 * round, 2 * round + 1], "round {round}");
    }
    Ok(())
}

pub(super) async fn records_without_a_key_are_found_and_no_others<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    let keyless = |number| NewRecord { key: None, ..numbered(number) };
    for first in (0..60).step_by(6) {
        let batch =
            (first..first + 6).map(|at| if at % 5 == 0 { keyless(at) } else { numbered(at) });
        fresh.append(0, batch.collect()).await?;
    }
    let empty = NewRecord { key: None, headers: Vec::new(), value: None };
    fresh.append(0, vec![empty, numbered(61)]).await?;
    let all = fresh.read_from(0, 0).await?;
    for from in [0, 1, 5, 6, 13, 60] {
        let mut reader = fresh.log.reader(&fresh.partition(0), from).await?;
        let mut found = Vec::new();
        while reader.position() < 62 {
            found.extend(reader.next_keyless(EVERYTHING).await?);
        }
        let expected = all.iter().filter(|record| record.offset >= from && record.key.is_none());
        assert!(found.iter().eq(expected), "from {from}: {found:?}");
    }
    a_reader_may_change_between_both_kinds_of_reads(&fresh).await
}

async fn a_reader_may_change_between_both_kinds_of_reads<L: EventLog>(
    fresh: &Fresh<L>,
) -> Result<()> {
    let mut reader = fresh.log.reader(&fresh.partition(0), 0).await?;
    let few = ReadLimit { records: 4, bytes: usize::MAX };
    let mut is_keyless_next = false;
    while reader.position() < 62 {
        let before = reader.position();
        if is_keyless_next {
            let found = reader.next_keyless(few).await?;
            let range = before..reader.position();
            let numbers = found.iter().map(|record| record.offset);
            let expected = range.filter(|at| (*at < 60 && at % 5 == 0) || *at == 60);
            assert!(numbers.eq(expected), "from {before}: {found:?}");
        } else {
            let found = reader.next(few).await?;
            assert!(found.iter().map(|record| record.offset).eq(before..reader.position()));
        }
        is_keyless_next = !is_keyless_next;
    }
    Ok(())
}

pub(super) async fn offset_at_finds_the_first_record_not_older<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    let partition = fresh.partition(0);
    assert_eq!(fresh.log.offset_at(&partition, Micros(0)).await?, 0, "an empty partition");
    fresh.fill(0, 10).await?;
    let records = fresh.read_from(0, 0).await?;
    let latest = records.last().map_or(Micros(0), |record| record.timestamp);
    let moments = records.iter().map(|record| record.timestamp);
    for time in moments.chain([Micros(0), latest.plus_ms(1)]) {
        let expected =
            records.iter().find(|record| record.timestamp >= time).map_or(10, |found| found.offset);
        assert_eq!(fresh.log.offset_at(&partition, time).await?, expected, "at {time:?}");
    }
    Ok(())
}
