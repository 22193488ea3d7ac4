//! Payloads: JSON as text with every kind of number literal, opaque bytes, omitted ones.

use crate::{Digest, InputEdit, Output, Payload, payload::JSON};
use proptest::{collection::vec, option, prelude::*};

/// Any JSON text. Numbers are literals, so that none goes through floating point.
pub fn json_text() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("0"),
        Just("-0"),
        Just("1"),
        Just("1.0"),
        Just("1e5"),
        Just("1E+5"),
        Just("0.10"),
        Just("9007199254740993"),
        Just("18446744073709551615"),
        Just("-9223372036854775808"),
        Just("123456789012345678901234567890"),
        Just("1e400"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        number.prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| quoted(&text)),
        Just(r#""\u00e9\ud83d\ude00\/""#.to_owned()),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let list = (vec(inner.clone(), 0..5), space())
            .prop_map(|(items, space)| format!("[{space}{}]", items.join(&format!("{space},"))));
        let object = (vec(("\\PC{0,6}", inner), 0..5), space()).prop_map(|(members, space)| {
            let member = |(at, (key, value)): (usize, &(String, String))| {
                format!("{}{space}:{space}{value}", quoted(&format!("{key}{at}")))
            };
            let members: Vec<_> = members.iter().enumerate().map(member).collect();
            format!("{{{space}{}{space}}}", members.join(","))
        });
        prop_oneof![list, object]
    })
}

/// Any payload that is stored or omitted.
pub fn payload() -> impl Strategy<Value = Payload> {
    let json = |text: String| Payload::json("payload", text).expect("the strategy makes JSON");
    let charset = move |text: String| Payload {
        content_type: format!("{JSON}; charset=utf-8"),
        ..json(text)
    };
    let omitted = |(size_bytes, digest): (u32, [u8; 32])| Payload {
        content_type: JSON.into(),
        data: bytes::Bytes::new(),
        digest: Digest(digest),
        omitted: true,
        size_bytes: u64::from(size_bytes),
    };
    prop_oneof![
        5 => json_text().prop_map(json),
        1 => json_text().prop_map(move |text| json(format!("\n{text} "))),
        1 => json_text().prop_map(move |text| json(format!("{{\"$payload\":{text}}}"))),
        1 => json_text().prop_map(charset),
        1 => vec(any::<u8>(), 0..200).prop_map(|data| Payload::opaque("image/png", data)),
        1 => (any::<u32>(), any::<[u8; 32]>()).prop_map(omitted),
    ]
}

/// Any output.
pub(super) fn output() -> impl Strategy<Value = Output> {
    (payload(), any::<bool>(), option::of(super::text()))
        .prop_map(|(payload, degraded, source)| Output { payload, degraded, source })
}

/// Any edit of an input.
pub(super) fn edit() -> impl Strategy<Value = InputEdit> {
    (any::<[u8; 32]>(), payload())
        .prop_map(|(before, after)| InputEdit { before: Digest(before), after })
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(""), 1 => Just(" "), 1 => Just("\n\t")]
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}
