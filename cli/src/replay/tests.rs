//! Where a replay ends, and what it says about a comparison.

use super::{outcome::Outcome, until::Until};
use crate::adapters::{Comparison, Difference, ProgressDifference, TableComparison};
use spine_schemas::{Digest, time::Micros};

#[test]
fn a_replay_ends_with_an_offset_or_a_time() {
    assert_eq!("17".parse(), Ok(Until::Offset(17)));
    assert_eq!("1970-01-01T00:00:01Z".parse(), Ok(Until::Time(Micros(1_000_000))));
    for wrong in ["", "-1", "yesterday", "2026-08-01"] {
        assert!(wrong.parse::<Until>().is_err(), "{wrong} was taken");
    }
}

fn outcome(compared: Option<Comparison>) -> Outcome {
    let (to, with) = ("fresh.db".to_owned(), Some("live.db".to_owned()));
    Outcome { to, with, ends: vec![(0, 10)], records: 10, took_ms: 20, compared }
}

fn comparison(differing_buckets: usize) -> Comparison {
    let digests = [Digest([1; 32]), Digest([2; 32])];
    let table = TableComparison { table: "runs", rows: [3, 3], digests, differing_buckets };
    Comparison { tables: vec![table], differences: vec![], progress: vec![] }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn equal_stores_are_said_to_be_equal() {
    let same = outcome(Some(comparison(0)));
    assert_eq!(same.difference(), None);
    assert_eq!(
        plain(&same.text()),
        "replayed 10 records into fresh.db in 20ms (500 records/s)\n  \
         runs                          3 rows  equal  0101010101010101\n\
         equal: the store is the fold of the log\n"
    );
}

#[test]
fn differing_rows_are_named() {
    let mut other = comparison(1);
    other.differences.push(Difference {
        table: "runs",
        key: "4".into(),
        column: Some("status".into()),
        left: Some("failed".into()),
        right: Some("completed".into()),
    });
    let differs = outcome(Some(other));
    assert!(differs.difference().is_some());
    let text = plain(&differs.text());
    assert!(text.contains("runs 4 status: replayed failed, compared completed"), "{text}");
    assert!(differs.json().contains("\"equal\":false"));
}

#[test]
fn a_store_at_another_offset_is_no_proof() {
    let mut other = comparison(0);
    other.progress.push(ProgressDifference { partition: 0, left: Some(9), right: Some(12) });
    let moved = outcome(Some(other));
    assert!(moved.difference().unwrap().contains("another offset"));
    assert!(
        plain(&moved.text()).contains("the replay is at offset 9, the other store at offset 12")
    );
}
