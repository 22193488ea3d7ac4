//! Which changes of a schema are allowed.

use super::*;

const NOW: [(&str, &str); 2] = [
    (include_str!("../../avro/v1/step_event.avsc"), include_str!("../../avro/step_event.avsc")),
    (include_str!("../../avro/v1/dead_letter.avsc"), include_str!("../../avro/dead_letter.avsc")),
];

const OLD: &str = r#"{"type":"record","name":"R","namespace":"n","fields":[
    {"name":"a","type":"string"},
    {"name":"k","type":{"type":"enum","name":"K","symbols":["unknown","x"],"default":"unknown"}},
    {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"n","type":["null",{"type":"record","name":"S","fields":[
        {"name":"i","type":"long","default":0}]}],"default":null}]}"#;

#[test]
fn the_current_schemas_are_compatible_with_every_frozen_version() {
    for (frozen, current) in NOW {
        check(frozen, current).unwrap();
    }
}

#[test]
fn a_nullable_field_a_symbol_and_a_doc_may_be_added() {
    let nullable = OLD.replace(
        r#""default":null}]}"#,
        r#""default":null},{"name":"new","type":["null","long"],"default":null}]}"#,
    );
    let nested = OLD.replace(
        r#""default":0}"#,
        r#""default":0},{"name":"j","type":["null",{"type":"array","items":"K"}],"default":null}"#,
    );
    let symbol = OLD.replace(r#"["unknown","x"]"#, r#"["unknown","x","y"]"#);
    let doc = OLD.replace(r#""name":"a","#, r#""name":"a","doc":"An a.","#);
    for new in [OLD, &nullable, &nested, &symbol, &doc] {
        assert_eq!(check(OLD, new), Ok(()), "{new}");
    }
}

#[test]
fn everything_else_is_refused() {
    let changes = [
        ("removed field", r#"{"name":"a","type":"string"},"#, ""),
        ("renamed field", r#""name":"a""#, r#""name":"b""#),
        ("changed type", r#""name":"a","type":"string""#, r#""name":"a","type":"long""#),
        ("bytes for a string", r#""name":"a","type":"string""#, r#""name":"a","type":"bytes""#),
        ("now nullable", r#""type":"string""#, r#""type":["null","string"]"#),
        ("changed default", r#""default":0"#, r#""default":1"#),
        ("removed default", r#","default":0"#, ""),
        ("removed default symbol", r#","default":"unknown""#, ""),
        ("removed symbol", r#"["unknown","x"]"#, r#"["unknown"]"#),
        ("other order of symbols", r#"["unknown","x"]"#, r#"["x","unknown"]"#),
        ("symbol in the middle", r#"["unknown","x"]"#, r#"["unknown","y","x"]"#),
        ("removed logical type", r#","logicalType":"timestamp-micros""#, ""),
        ("other logical type", "timestamp-micros", "timestamp-millis"),
        (
            "other branch order",
            r#"["null",{"type":"record","name":"S","fields":[
        {"name":"i","type":"long","default":0}]}],"default":null"#,
            r#"[{"type":"record","name":"S","fields":[
        {"name":"i","type":"long","default":0}]},"null"]"#,
        ),
        ("field without default", r#"{"name":"a","#, r#"{"name":"z","type":"long"},{"name":"a","#),
        (
            "field that is not nullable",
            r#"{"name":"a","#,
            r#"{"name":"z","type":"long","default":0},{"name":"a","#,
        ),
        ("renamed record", r#""name":"R""#, r#""name":"Q""#),
        ("renamed namespace", r#""namespace":"n""#, r#""namespace":"m""#),
    ];
    for (what, from, to) in changes {
        let new = OLD.replace(from, to);
        assert_ne!(new, OLD, "{what}");
        assert!(matches!(check(OLD, &new), Err(Error::Incompatible(_))), "{what}");
    }
}

#[test]
fn the_refusal_names_the_field() {
    let new = OLD.replace(r#""default":0"#, r#""default":1"#);
    let Err(Error::Incompatible(message)) = check(OLD, &new) else { panic!("accepted") };
    assert_eq!(message, ".n.i: the default has changed");
}

/// Which field defines a shared type, and which only names it, is a matter of their order.
#[test]
fn a_type_that_two_fields_share_may_be_defined_in_either() {
    let of = |fields: &str| {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        Schema::parse_str(&text).unwrap()
    };
    let defined = r#"{"type":"record","name":"P","fields":[{"name":"b","type":"bytes"}]}"#;
    let in_a = of(&format!(r#"{{"name":"a","type":{defined}}},{{"name":"z","type":"P"}}"#));
    let in_z = of(&format!(r#"{{"name":"z","type":{defined}}},{{"name":"a","type":"P"}}"#));
    can_read(&in_z, &in_a).unwrap();
    let other = defined.replace("bytes", "long");
    let other = of(&format!(r#"{{"name":"z","type":{other}}},{{"name":"a","type":"P"}}"#));
    can_read(&other, &in_a).unwrap_err();
    let itself = of(r#"{"name":"next","type":["null","R"],"default":null}"#);
    can_read(&itself, &itself).unwrap();
}

#[test]
fn names_that_stand_for_names_do_not_make_a_schema_endless() {
    let mut fields = r#"{"name":"l","type":"long"}"#.to_owned();
    for at in 0..40 {
        fields = format!(
            r#"{{"name":"x","type":{{"type":"record","name":"R{at}","fields":[{fields}]}}}},{{"name":"y","type":"R{at}"}}"#
        );
    }
    let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let schema = Schema::parse_str(&text).unwrap();
    can_read(&schema, &schema).unwrap_err();
}
