//! Digests, depth, references and pointers.

use super::*;
use crate::arbitrary;
use proptest::prelude::*;

fn of(text: &str) -> Digest {
    digest("input", text.as_bytes()).unwrap()
}

#[test]
fn digests_ignore_key_order_space_and_escapes() {
    assert_eq!(of(r#"{"a":1,"b":[true,null]}"#), of("\n{ \"b\" : [ true , null ], \"a\" : 1 }\t"));
    assert_eq!(of(r#"{"é/":"x"}"#), of(r#"{"\u00e9\/":"\u0078"}"#));
}

#[test]
fn digests_keep_number_literals_apart() {
    let literals = ["1", "1.0", "1e0", "10e-1", "9007199254740993", "9007199254740992", "-0", "0"];
    for (at, one) in literals.iter().enumerate() {
        for other in &literals[at + 1..] {
            assert_ne!(of(one), of(other), "{one} and {other}");
        }
    }
}

#[test]
fn digests_tell_types_and_order_apart() {
    assert_ne!(of("\"1\""), of("1"));
    assert_ne!(of("[1,2]"), of("[2,1]"));
    assert_ne!(of("{}"), of("[]"));
    assert_ne!(of("null"), of("\"null\""));
}

#[test]
fn repeated_keys_are_refused_however_they_are_escaped() {
    for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"x":{"a":1,"a":2}}]"#] {
        assert!(digest("input", text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn nesting_beyond_the_limit_is_refused_before_any_recursion() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(digest("input", nested(limits::JSON_DEPTH).as_bytes()).is_ok());
    assert!(digest("input", nested(limits::JSON_DEPTH + 1).as_bytes()).is_err());
    assert!(digest("input", nested(200_000).as_bytes()).is_err());
    assert!(substitute(nested(200_000).as_bytes(), usize::MAX, &mut |_| Ok(b"")).is_err());
    let in_strings = format!("\"{}\\\"{}\"", "[".repeat(500), "{".repeat(500));
    assert!(digest("input", in_strings.as_bytes()).is_ok());
    let wide = format!("[{}]", vec!["[]"; 5000].join(","));
    assert!(digest("input", wide.as_bytes()).is_ok());
}

#[test]
fn references_are_found_and_replaced() {
    let input =
        br#"{"b":{"$ref":"a/lookup#2#/x/0"},"a":[{"$ref":"run#/o"},{"$ref":"poll#"}],"n":1.0}"#;
    let found = references(input).unwrap();
    let texts: Vec<_> = found.iter().map(|r| (r.step.clone(), r.pointer.as_str())).collect();
    assert_eq!(
        texts,
        [
            (None, "/o"),
            (Some(StepKey::named("poll")), ""),
            (Some(StepKey::new("a", "lookup", 2).unwrap()), "/x/0"),
        ]
    );
    let replaced = substitute(input, 100, &mut |reference| {
        Ok(match reference.pointer.as_str() {
            "/o" => b"[1,2]",
            "" => b"\"\"",
            _ => b"{}",
        })
    });
    assert_eq!(replaced.unwrap(), br#"{"a":[[1,2],""],"b":{},"n":1.0}"#);
}

#[test]
fn what_is_put_in_stops_at_the_limit() {
    let input = format!("[{}]", vec![r##"{"$ref":"run#"}"##; 16_000].join(","));
    let source = format!("\"{}\"", "x".repeat(998));
    let mut asked = 0;
    let filled = substitute(input.as_bytes(), 10_000, &mut |_| {
        asked += 1;
        Ok(source.as_bytes())
    });
    assert_eq!(filled, Err(Error::too_large("input", 10_010, 10_000)));
    assert_eq!(asked, 10, "nothing is looked up behind the limit");
    let fits = |limit| substitute(br##"[{"$ref":"run#"},1]"##, limit, &mut |_| Ok(b"22"));
    assert_eq!((fits(6).unwrap(), fits(5).is_err()), (b"[22,1]".to_vec(), true));
}

#[test]
fn a_pointer_costs_what_it_reads() {
    let text = br#"{"a":[10,{"b":1.0}]}"#;
    let cost = |path: &str| {
        let mut read_bytes = 0;
        pointer_at_cost(text, path, &mut read_bytes).unwrap();
        read_bytes
    };
    assert_eq!((cost(""), cost("/a"), cost("/a/1/b")), (20, 40, 40 + 14 + 9));
}

#[test]
fn objects_with_more_than_a_reference_are_data() {
    assert_eq!(references(br#"{"$ref":"a#/x","other":1}"#).unwrap(), []);
}

#[test]
fn malformed_references_are_refused() {
    for text in [r#"{"$ref":"a"}"#, r#"{"$ref":7}"#, r##"{"$ref":"#/x"}"##, r#"{"$ref":"a#0#/x"}"#]
    {
        assert!(references(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn pointers_follow_rfc_6901() {
    let text = br#"{"a":[10,{"b/c":1.0,"~":2,"":3}],"01":4}"#;
    for (path, expected) in
        [("/a/0", "10"), ("/a/1/b~1c", "1.0"), ("/a/1/~0", "2"), ("/a/1/", "3"), ("/01", "4")]
    {
        assert_eq!(pointer(text, path).unwrap(), expected.as_bytes(), "{path}");
    }
    assert_eq!(pointer(text, "").unwrap(), text);
    for missing in ["/b", "/a/2", "/a/-", "/a/+1", "/a/01", "/a/0/x", "/a/1/b/c"] {
        assert!(pointer(text, missing).is_err(), "{missing}");
    }
}

proptest! {
    #[test]
    fn digests_survive_sorting_and_respacing(text in arbitrary::json_text()) {
        // A substitution without references writes the keys sorted and without space.
        let sorted = substitute(text.as_bytes(), usize::MAX, &mut |_| unreachable!()).unwrap();
        prop_assert_eq!(digest("x", text.as_bytes()).unwrap(), digest("x", &sorted).unwrap());
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = digest("x", &bytes);
        let _ = references(&bytes);
        let _ = pointer(&bytes, "/a/0");
    }
}
