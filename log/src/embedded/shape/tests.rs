//! The skipper against the library's own encoder and decoder.

use super::Shape;
use apache_avro::{
    Schema,
    reader::datum::GenericDatumReader,
    types::Value::{
        self, Array, Boolean, Bytes, Double, Enum, Fixed, Float, Int, Long, Map, Null, Record,
        String, Union,
    },
    writer::datum::GenericDatumWriter,
};
use proptest::prelude::*;

const RICH: &str = r#"{"type":"record","name":"Rich","namespace":"t","fields":[
    {"name":"flag","type":"boolean"},
    {"name":"int","type":"int"},
    {"name":"when","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"float","type":"float"},
    {"name":"double","type":"double"},
    {"name":"bytes","type":"bytes"},
    {"name":"text","type":["null","string"]},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["a","b","c"]}},
    {"name":"again","type":["null","Kind"]},
    {"name":"fixed","type":{"type":"fixed","name":"Four","size":4}},
    {"name":"list","type":{"type":"array","items":"int"}},
    {"name":"map","type":{"type":"map","values":["null","long"]}},
    {"name":"next","type":["null","Rich"]}]}"#;

fn schema() -> Schema {
    Schema::parse_str(RICH).unwrap()
}

fn optional(value: Option<Value>) -> Value {
    match value {
        Some(value) => Union(1, Box::new(value)),
        None => Union(0, Box::new(Null)),
    }
}

fn kind(symbol: u32) -> Value {
    Enum(symbol, ["a", "b", "c"][symbol as usize].into())
}

fn leaf() -> impl Strategy<Value = Vec<(std::string::String, Value)>> {
    let simple = (any::<bool>(), any::<i32>(), any::<i64>(), any::<[u8; 4]>(), 0..3_u32);
    let sized = (
        proptest::collection::vec(any::<u8>(), 0..20),
        proptest::option::of(".{0,8}"),
        proptest::collection::vec(any::<i32>(), 0..5),
        proptest::collection::hash_map(".{0,4}", proptest::option::of(any::<i64>()), 0..4),
    );
    (simple, sized).prop_map(|((flag, int, when, four, symbol), (bytes, text, list, map))| {
        let map = map.into_iter().map(|(key, value)| (key, optional(value.map(Long))));
        vec![
            ("flag".into(), Boolean(flag)),
            ("int".into(), Int(int)),
            ("when".into(), Value::TimestampMicros(when)),
            ("float".into(), Float(int as f32)),
            ("double".into(), Double(when as f64)),
            ("bytes".into(), Bytes(bytes)),
            ("text".into(), optional(text.map(String))),
            ("kind".into(), kind(symbol)),
            ("again".into(), optional(flag.then(|| kind(symbol)))),
            ("fixed".into(), Fixed(4, four.to_vec())),
            ("list".into(), Array(list.into_iter().map(Int).collect())),
            ("map".into(), Map(map.collect())),
        ]
    })
}

fn rich() -> impl Strategy<Value = Value> {
    (leaf(), proptest::option::of(leaf())).prop_map(|(mut outer, inner)| {
        let inner = inner.map(|mut fields| {
            fields.push(("next".into(), optional(None)));
            Record(fields)
        });
        outer.push(("next".into(), optional(inner)));
        Record(outer)
    })
}

fn encode(value: Value) -> Vec<u8> {
    let schema = schema();
    GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap()
}

proptest! {
    #[test]
    fn every_encoded_datum_fits_and_no_part_of_it_does(value in rich(), cut: prop::sample::Index) {
        let datum = encode(value);
        let shape = Shape::compile(&schema());
        prop_assert!(shape.fits(&datum));
        prop_assert!(!shape.fits(&datum[..cut.index(datum.len())]));
        prop_assert!(!shape.fits(&[&datum[..], &[0]].concat()));
    }

    #[test]
    fn what_fits_is_read_to_its_end_by_the_library(
        value in rich(),
        flips in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4),
    ) {
        let mut datum = encode(value);
        for (place, with) in flips {
            let place = place.index(datum.len());
            datum[place] ^= with;
        }
        if Shape::compile(&schema()).fits(&datum) {
            let mut rest = &datum[..];
            let schema = schema();
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            prop_assert!(reader.read_value(&mut rest).is_ok());
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn random_bytes_never_make_it_panic(datum in proptest::collection::vec(any::<u8>(), 0..100)) {
        Shape::compile(&schema()).fits(&datum);
    }
}

fn fits(schema: &str, datum: &[u8]) -> bool {
    Shape::compile(&Schema::parse_str(schema).unwrap()).fits(datum)
}

#[test]
fn blocks_with_a_size_must_tell_the_truth() {
    let list = r#"{"type":"array","items":"int"}"#;
    assert!(fits(list, &[3, 4, 2, 4, 0]), "two items of two bytes");
    assert!(!fits(list, &[3, 2, 2, 4, 0]), "two items that claim one byte");
    assert!(fits(list, &[2, 2, 2, 4, 0]), "two blocks of one item");
}

#[test]
fn a_few_bytes_never_stand_for_billions_of_items() {
    let nulls = r#"{"type":"array","items":"null"}"#;
    assert!(!fits(nulls, &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0]));
}

#[test]
fn endless_nesting_is_given_up() {
    let chain = r#"{"type":"record","name":"L","fields":[{"name":"n","type":["null","L"]}]}"#;
    assert!(fits(chain, &[&[2; 20][..], &[0]].concat()));
    assert!(!fits(chain, &[&[2; 1000][..], &[0]].concat()));
}

#[test]
fn logical_types_with_rules_of_their_own_are_left_alone() {
    assert!(!fits(r#"{"type":"string","logicalType":"uuid"}"#, &[2, b'x']));
}
