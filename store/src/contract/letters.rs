//! Dead letters: every field, their statuses, and their order.

use super::samples::{self, Tape, at};
use crate::{LetterClosing, LetterFilter, LetterKind, LetterRow, LetterStatus, RunStore};
use spine_schemas::time::Micros;
use std::collections::BTreeSet;

async fn write(store: &impl RunStore, tape: &mut Tape, letters: &[LetterRow]) {
    let mut batch = tape.next(1);
    batch.letters.extend_from_slice(letters);
    store.apply(batch).await.expect("apply");
}

/// Letters come back equal, with everything given, with nothing given, and with empty texts given.
pub(super) async fn keeps_every_field(store: &impl RunStore) {
    let full = LetterRow {
        status: LetterStatus::Discarded,
        closed_at: Some(at(9)),
        closed_by: Some("ops@example".into()),
        closed_reason: Some("no longer wanted \u{1F980}".into()),
        generation: u32::MAX,
        attempts: u32::MAX,
        ..samples::letter(1, 0, 1)
    };
    let bare = LetterRow {
        kind: LetterKind::Record,
        tenant: None,
        run_id: None,
        step: None,
        tool: None,
        message: String::new(),
        attempts_json: String::new(),
        ..samples::letter(2, 0, 2)
    };
    let empty = LetterRow {
        run_id: Some(String::new()),
        tool: Some(String::new()),
        closed_at: Some(Micros(0)),
        closed_by: Some(String::new()),
        closed_reason: Some(String::new()),
        ..samples::letter(3, 0, 3)
    };
    let letters = [full, bare, empty];
    write(store, &mut Tape::new(0), &letters).await;
    for letter in letters {
        assert_eq!(store.letter(&letter.letter_id).await.expect("letter"), Some(letter));
    }
    assert_eq!(store.letter(&samples::digest(4, "letter")).await.expect("letter"), None);
}

/// A letter is one row: closing it moves it to the list of its new status. Only an open letter can
/// be closed, and one batch may open and close it.
pub(super) async fn closes_open_letters_once(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let statuses = [LetterStatus::Redriven, LetterStatus::Resolved, LetterStatus::Discarded];
    for (status, number) in statuses.into_iter().zip(0..) {
        let mut letter = samples::letter(number, 0, number);
        let closing = closing(&letter, status, number + 10);
        let mut opened = tape.next(1);
        opened.letters.push(letter.clone());
        if number == 1 {
            opened.closings.push(closing.clone());
        }
        store.apply(opened).await.expect("apply");
        let mut closed = tape.next(1);
        closed.closings.push(closing.clone());
        store.apply(closed).await.expect("apply");
        assert!(letter.close(&closing), "the sample is open");
        let mut again = tape.next(1);
        let late = LetterClosing { by: "late".into(), offset: closing.offset + 1, ..closing };
        again.closings.push(LetterClosing { letter_id: samples::digest(99, "x"), ..late.clone() });
        again.closings.push(late);
        store.apply(again).await.expect("apply");
        assert_eq!(store.letter(&letter.letter_id).await.expect("letter"), Some(letter.clone()));
        for asked in [LetterStatus::Open].into_iter().chain(statuses) {
            let page = store
                .list_letters(&LetterFilter { status: Some(asked), ..Default::default() }, None, 10)
                .await
                .expect("letters");
            assert_eq!(page.rows.contains(&letter), asked == status, "{asked:?}");
        }
    }
}

fn closing(letter: &LetterRow, status: LetterStatus, offset: u64) -> LetterClosing {
    LetterClosing {
        letter_id: letter.letter_id,
        status,
        offset,
        // Odd values, which must not be taken for absent ones.
        at: if status == LetterStatus::Resolved { Micros(0) } else { at(offset) },
        by: if status == LetterStatus::Resolved { String::new() } else { "ops".into() },
        reason: "gründlich geprüft".into(),
    }
}

/// Newest first over all partitions, each once, also when letters come and change between pages.
pub(super) async fn pages_newest_first(store: &impl RunStore) {
    let (mut one, mut two) = (Tape::new(0), Tape::new(1));
    for number in 0..15 {
        let mut letter = samples::letter(number, 0, number / 2);
        if number % 3 == 0 {
            letter.tenant = Some("other".into());
        }
        write(store, &mut one, &[letter]).await;
        write(store, &mut two, &[samples::letter(100 + number, 1, number / 2)]).await;
    }
    for limit in [1, 4, 100] {
        let (mut cursor, mut found, mut rounds) = (None, Vec::new(), 0);
        loop {
            let page = store
                .list_letters(&LetterFilter::default(), cursor.as_deref(), limit)
                .await
                .expect("letters");
            found.extend(page.rows);
            rounds += 1;
            write(store, &mut one, &[samples::letter(1000 + rounds, 0, 500 + rounds)]).await;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        found.retain(|letter| letter.offset < 500);
        let ids: BTreeSet<_> = found.iter().map(|letter| letter.letter_id).collect();
        assert_eq!((found.len(), ids.len()), (30, 30), "pages of {limit}: each letter once");
        assert!(found.is_sorted_by_key(|letter| std::cmp::Reverse(letter.dead_at)));
    }
    let page = store
        .list_letters(
            &LetterFilter { tenant: Some("other".into()), ..Default::default() },
            None,
            10,
        )
        .await
        .expect("letters");
    assert_eq!(page.rows.len(), 5);
    let page = store
        .list_letters(
            &LetterFilter {
                status: Some(LetterStatus::Open),
                tenant: Some("other".into()),
                tasks: false,
            },
            None,
            3,
        )
        .await
        .expect("letters");
    assert_eq!(page.rows.len(), 3);
    assert!(page.next.is_some());
}
