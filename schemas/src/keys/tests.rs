//! The partitioner against Kafka's own vectors, and derived identities.

use super::*;

#[test]
fn murmur2_equals_kafkas_own_vectors() {
    // From org.apache.kafka.common.utils.UtilsTest.testMurmur2.
    let vectors: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    for (text, expected) in vectors {
        assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text}");
    }
}

#[test]
fn a_key_lies_in_the_partition_that_a_java_producer_gives_it() {
    assert_eq!(partition_of(b"21", 48), ((-973_932_308_i32 & 0x7fff_ffff) % 48).cast_unsigned());
    assert_eq!(partition_of(b"anything", 1), 0);
}

#[test]
fn c5_idempotency_keys_differ_by_every_part_and_by_nothing_else() {
    let (run, step) = (RunKey::new("t", "r"), StepKey::new("s", "n", 2).unwrap());
    let key = idempotency_key("i", &run, &step, 0);
    assert_eq!(key, idempotency_key("i", &RunKey::new("t", "r"), &step, 0));
    let others = [
        idempotency_key("j", &run, &step, 0),
        idempotency_key("i", &RunKey::new("u", "r"), &step, 0),
        idempotency_key("i", &RunKey::new("t", "q"), &step, 0),
        idempotency_key("i", &run, &StepKey::new("", "n", 2).unwrap(), 0),
        idempotency_key("i", &run, &StepKey::new("s", "m", 2).unwrap(), 0),
        idempotency_key("i", &run, &StepKey::new("s", "n", 3).unwrap(), 0),
        idempotency_key("i", &run, &step, 1),
        // The same letters, cut elsewhere.
        idempotency_key("it", &RunKey::new("", "r"), &step, 0),
    ];
    assert!(others.iter().all(|other| *other != key));
}

#[test]
fn letters_of_steps_and_records_have_different_identities() {
    let (run, step) = (RunKey::new("t", "r"), StepKey::named("n"));
    assert_ne!(step_letter_id(&run, &step, 0), step_letter_id(&run, &step, 1));
    assert_ne!(record_letter_id("l", "t", 0, 1), record_letter_id("l", "t", 1, 0));
    assert_ne!(record_letter_id("l", "t", 0, 1), record_letter_id("m", "t", 0, 1));
}
