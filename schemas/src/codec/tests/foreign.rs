//! Events that another version wrote, through the library's value path.

use super::*;
use crate::Error;
use crate::wire::symbols::Symbols;
use apache_avro::{
    reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use serde_json::json;

/// Our schema with a change, as another build would have it.
fn changed(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut schema = serde_json::from_str(STEP_EVENT).unwrap();
    change(&mut schema);
    schema.to_string()
}

fn field<'a>(schema: &'a mut serde_json::Value, name: &str) -> &'a mut serde_json::Value {
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.iter_mut().find(|field| field["name"] == name).unwrap()
}

/// A newer build: fields of every shape that the fast path cannot skip.
fn newer() -> String {
    changed(|schema| {
        let fields = schema["fields"].as_array_mut().unwrap();
        let color = json!({"type": "enum", "name": "Color", "symbols": ["red", "blue"]});
        let point =
            json!({"type": "record", "name": "Point", "fields": [{"name": "x", "type": "long"}]});
        fields.insert(3, json!({"name": "color", "type": color, "default": "red"}));
        fields.insert(9, json!({"name": "point", "type": point, "default": {"x": 0}}));
        fields.push(json!({"name": "later", "type": ["null", "spine.v1.Point"], "default": null}));
        fields.push(json!({"name": "list", "type": {"type": "array", "items": "spine.v1.Color"}, "default": []}));
    })
}

/// The event as the newer build would write it, with its own fields filled.
fn written_by(
    schema: &str,
    event: &Event,
    edit: impl FnOnce(&mut Vec<(String, Value)>),
) -> Vec<u8> {
    let bytes = encode(event).unwrap();
    let reader = GenericDatumReader::builder(EVENTS.schema).build().unwrap();
    let value = reader.read_value(&mut &bytes[HEADER_BYTES..]).unwrap();
    let Value::Record(mut fields) = value else { panic!("not a record") };
    edit(&mut fields);
    let parsed = Schema::parse_str(schema).unwrap();
    let Schema::Record(record) = &parsed else { panic!("not a record") };
    let ordered = record.fields.iter().map(|field| {
        let value = fields.iter().find(|(name, _)| *name == field.name).unwrap().1.clone();
        (field.name.clone(), value)
    });
    let value = Value::Record(ordered.collect());
    let mut out = [&MARKER[..], &fingerprint(&parsed).to_le_bytes()].concat();
    let writer = GenericDatumWriter::builder(&parsed).build().unwrap();
    writer.write_value_ref(&mut out, &value).unwrap();
    out
}

fn filled(fields: &mut Vec<(String, Value)>) {
    let point = Value::Record(vec![("x".into(), Value::Long(-9))]);
    fields.push(("color".into(), Value::Enum(1, "blue".into())));
    fields.push(("point".into(), point.clone()));
    fields.push(("later".into(), Value::Union(1, Box::new(point))));
    fields.push(("list".into(), Value::Array(vec![Value::Enum(1, "blue".into())])));
}

#[test]
fn newer_fields_of_any_shape_are_skipped_with_the_same_result() {
    let (schema, book) = (newer(), SchemaBook::compiled_in());
    book.add(&schema).unwrap();
    for event in samples() {
        assert_eq!(decode(&written_by(&schema, &event, filled), &book).unwrap(), event);
    }
}

#[test]
fn an_older_version_without_the_newest_fields_is_read() {
    let schema = changed(|schema| {
        let fields = schema["fields"].as_array_mut().unwrap();
        fields.retain(|field| {
            !["disposal", "reason", "attributes"].contains(&field["name"].as_str().unwrap())
        });
    });
    let book = SchemaBook::compiled_in();
    book.add(&schema).unwrap();
    let event = &samples()[8];
    let older = written_by(&schema, event, |fields| fields.retain(|(name, _)| name != "reason"));
    assert_eq!(decode(&older, &book).unwrap(), *event);
}

#[test]
fn a_value_cut_at_any_byte_is_an_error_here_too() {
    let (schema, book) = (newer(), SchemaBook::compiled_in());
    book.add(&schema).unwrap();
    for event in samples() {
        let bytes = written_by(&schema, &event, filled);
        for end in 0..bytes.len() {
            let cut = decode(&bytes[..end], &book);
            assert!(matches!(cut, Err(Error::Decode(_))), "{} at {end}", event.kind());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(decode(&longer, &book), Err(Error::Decode(_))), "{}", event.kind());
    }
}

#[test]
fn a_newer_kind_is_told_from_garbage_and_names_itself() {
    let schema = changed(|schema| {
        let kind = field(schema, "kind");
        kind["type"]["symbols"].as_array_mut().unwrap().push(json!("step_teleported"));
    });
    let book = SchemaBook::compiled_in();
    book.add(&schema).unwrap();
    let teleported = |event: &Event| {
        let bytes = written_by(&schema, event, |fields| {
            let kind = fields.iter_mut().find(|(name, _)| name == "kind").unwrap();
            kind.1 = Value::Enum(Kind::COUNT as u32, "step_teleported".into());
        });
        decode(&bytes, &book).unwrap_err()
    };
    let unknown = |claimed| Error::UnknownKind {
        field: "kind".into(),
        symbol: "step_teleported".into(),
        claimed,
    };
    assert_eq!(teleported(&samples()[15]), unknown(true));
    assert_eq!(teleported(&samples()[11]), unknown(false));
    assert!(!unknown(true).is_retryable());
}

#[test]
fn a_newer_symbol_inside_a_record_names_its_field() {
    let schema = changed(|schema| {
        let spec = field(schema, "spec");
        let effect = &mut spec["type"][1]["fields"][2];
        effect["type"]["symbols"].as_array_mut().unwrap().push(json!("telepathic"));
    });
    let book = SchemaBook::compiled_in();
    book.add(&schema).unwrap();
    let bytes = written_by(&schema, &samples()[7], |fields| {
        let spec = fields.iter_mut().find(|(name, _)| name == "spec").unwrap();
        let Value::Union(_, inner) = &mut spec.1 else { panic!("not a union") };
        let Value::Record(inner) = &mut **inner else { panic!("not a record") };
        inner[2].1 = Value::Enum(5, "telepathic".into());
    });
    let refused = decode(&bytes, &book).unwrap_err();
    assert!(
        matches!(refused, Error::UnknownKind { field, claimed: true, .. } if field == "spec.effect")
    );
}

#[test]
fn a_symbol_beyond_our_own_list_is_garbage() {
    let event = &samples()[8];
    let bytes = encode(event).unwrap();
    // The kind follows event_id, tenant and run_id.
    let at = HEADER_BYTES + 1 + event.event_id.len() + 1 + event.tenant.len() + 2 + 2;
    let mut wrong = bytes.to_vec();
    assert_eq!(wrong[at], 2 * 7, "step_started is the seventh");
    wrong[at] = 2 * Kind::COUNT as u8;
    assert!(matches!(decode(&wrong, &SchemaBook::default()), Err(Error::Decode(_))));
    wrong[at] = 0;
    let unknown = decode(&wrong, &SchemaBook::default()).unwrap_err();
    assert!(matches!(unknown, Error::UnknownKind { claimed: true, .. }));
}

#[test]
fn the_book_takes_only_what_this_build_can_read() {
    let book = SchemaBook::compiled_in();
    let own = u64::from_le_bytes(step_event_fingerprint());
    assert_eq!(book.add(STEP_EVENT), Ok(own));
    let added = book.add(&newer()).unwrap();
    assert_eq!(book.add(&newer()), Ok(added));
    assert!(book.knows(added) && book.knows(own) && !book.knows(1));

    let other = r#"{"type":"record","name":"Other","fields":[{"name":"x","type":"long"}]}"#;
    let without = changed(|schema| {
        schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != "tenant");
    });
    let retyped = changed(|schema| field(schema, "actor")["type"] = json!("long"));
    for schema in ["", "{}", "\"long\"", other, &without, &retyped] {
        assert!(matches!(book.add(schema), Err(Error::Incompatible(_))), "{schema}");
    }
}

#[test]
fn schemas_that_are_cheap_to_write_and_dear_to_read_are_refused() {
    let with = |extra: serde_json::Value| {
        changed(|schema| {
            let fields = schema["fields"].as_array_mut().unwrap();
            fields.push(json!({"name": "extra", "type": extra, "default": null}));
        })
    };
    let recursive = json!(["null", {"type": "record", "name": "Node", "fields": [
        {"name": "next", "type": ["null", "spine.v1.Node"], "default": null}]}]);
    let nothing = json!(["null", {"type": "array", "items": "null"}]);
    let empty = json!(["null", {"type": "map", "values":
        {"type": "record", "name": "Empty", "fields": []}}]);
    let book = SchemaBook::default();
    for extra in [recursive, nothing, empty] {
        assert!(matches!(book.add(&with(extra)), Err(Error::Incompatible(_))));
    }
    let mut levels =
        json!({"type": "record", "name": "L0", "fields": [{"name": "x", "type": "null"}]});
    for level in 1..40 {
        let below = format!("spine.v1.L{}", level - 1);
        levels = json!({"type": "record", "name": format!("L{level}"), "fields": [
            {"name": "a", "type": levels}, {"name": "b", "type": below}]});
    }
    assert!(matches!(book.add(&with(json!(["null", levels]))), Err(Error::TooLarge { .. })));
}

proptest! {
    #[test]
    fn any_event_survives_the_value_path(event in arbitrary::event()) {
        let (schema, book) = (newer(), SchemaBook::default());
        book.add(&schema).unwrap();
        prop_assert_eq!(decode(&written_by(&schema, &event, filled), &book).unwrap(), event);
    }

    #[test]
    fn no_bytes_make_the_value_path_panic(
        event in arbitrary::event(),
        at in any::<proptest::sample::Index>(),
        junk in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let (schema, book) = (newer(), SchemaBook::default());
        book.add(&schema).unwrap();
        let mut bytes = written_by(&schema, &event, filled);
        let at = HEADER_BYTES + at.index(bytes.len() - HEADER_BYTES);
        bytes.splice(at..(at + junk.len()).min(bytes.len()), junk);
        let _ = decode(&bytes, &book);
    }
}

#[test]
fn a_fixed_size_that_no_event_has_is_refused_before_anything_is_allocated() {
    let with = |more: &str| {
        let of_kind =
            r#"{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["run_created"]}}"#;
        let field = format!(r#"{{"name":"more","type":{more}}}"#);
        format!(r#"{{"type":"record","name":"spine.v1.StepEvent","fields":[{of_kind},{field}]}}"#)
    };
    let fixed = |size: usize| format!(r#"{{"type":"fixed","name":"F","size":{size}}}"#);
    let decimal = |size: usize| {
        format!(
            r#"{{"type":"fixed","name":"F","size":{size},"logicalType":"decimal","precision":4,"scale":0}}"#
        )
    };
    for large in [fixed(1 << 40), decimal(1 << 40), fixed(limits::EVENT_BYTES + 1)] {
        let refused = SchemaBook::default().add(&with(&large));
        assert!(matches!(refused, Err(crate::Error::TooLarge { .. })), "{large}: {refused:?}");
    }
    for small in [fixed(16), decimal(16)] {
        let added = SchemaBook::default().add(&with(&small));
        assert!(!matches!(added, Err(crate::Error::TooLarge { .. })), "{small}: {added:?}");
    }
}
