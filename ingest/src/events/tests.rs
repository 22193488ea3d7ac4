//! Reading batches: no bytes do harm, and a batch is read whole or not at all.

pub(crate) mod containers;

use super::lines::{Author, Form, Parsed};
use crate::Problem;
use crate::tests::world::{ndjson, six_events};
use proptest::prelude::*;
use spine_schemas::time::Micros;

fn author() -> Author {
    Author::fixed(Some("key".to_owned()), Micros(7))
}

/// Reads a batch, with room for as much as it wants.
fn parse(form: Form, text: &[u8], author: &Author, partitions: u32) -> Result<Parsed, Problem> {
    super::lines::parse(form, text, author, partitions, &mut |_bytes| Ok(()))
}

proptest! {
    #[test]
    fn no_bytes_do_harm(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        for form in [Form::Lines, Form::Array, Form::Container] {
            prop_assert!(parse(form, &text, &author(), 3).is_err());
        }
    }

    #[test]
    fn a_changed_byte_spoils_all_or_nothing(at in 0usize..900, byte in any::<u8>()) {
        let mut text = ndjson(&six_events("r1")).into_bytes();
        let at = at % text.len();
        text[at] = byte;
        match parse(Form::Lines, &text, &author(), 3) {
            Ok(parsed) => {
                let records: Vec<_> = parsed.batches.values().flatten().collect();
                prop_assert!(records.len() == parsed.places.len() && records.len() >= 5);
                prop_assert!(records.iter().all(|record| record.value.is_some()));
            }
            Err(problem) => {
                let errors = &problem.to_json()["errors"];
                prop_assert!(errors.as_array().is_some_and(|errors| !errors.is_empty()));
            }
        }
    }
}
