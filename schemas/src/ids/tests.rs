//! Text forms of identities.

use super::*;
use crate::arbitrary;
use proptest::prelude::*;

#[test]
fn the_text_form_of_a_step_names_scope_and_occurrence() {
    let key = StepKey::new("a/b", "poll", 2).unwrap();
    assert_eq!(key.to_string(), "a/b/poll#2");
    assert_eq!("a/b/poll#2".parse(), Ok(key));
    assert_eq!("poll".parse(), Ok(StepKey::named("poll")));
    assert_eq!(StepKey::named("poll").to_string(), "poll#1");
}

#[test]
fn malformed_steps_are_refused_by_field() {
    let long = "n".repeat(129);
    for (text, field) in [
        ("", "step.name"),
        ("a/", "step.name"),
        ("#1", "step.name"),
        ("a#x", "step.occurrence"),
        ("a#0", "step.occurrence"),
        ("a#-1", "step.occurrence"),
        ("a#4294967296", "step.occurrence"),
        ("a#1#2", "step.name"),
        ("/a", "step.scope"),
        ("a//b", "step.scope"),
        ("a\n", "step.name"),
        (&long, "step.name"),
    ] {
        let refused = text.parse::<StepKey>();
        match refused {
            // An empty scope in front of a slash is the top: the text form never writes it.
            Ok(key) => assert_eq!((text, key.scope.as_ref()), ("/a", "")),
            Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field, "{text:?}"),
            Err(other) => panic!("{text:?}: {other}"),
        }
    }
}

#[test]
fn tenants_and_ids_have_limits() {
    assert!(check_tenant("a_b-9").is_ok());
    for wrong in ["", "A", "a.b", "é", &"a".repeat(64)] {
        assert!(check_tenant(wrong).is_err(), "{wrong:?}");
    }
    assert!(check_id("run_id", &"r".repeat(128)).is_ok());
    for wrong in ["", "a\tb", "a\u{85}b", &"r".repeat(129)] {
        assert!(check_id("run_id", wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn digests_of_parts_do_not_collide_by_moving_a_boundary() {
    assert_ne!(Digest::of_parts(&[b"ab", b"c"]), Digest::of_parts(&[b"a", b"bc"]));
    assert_ne!(Digest::of_parts(&[b"a"]), Digest::of_parts(&[b"a", b""]));
}

proptest! {
    #[test]
    fn any_step_survives_its_text_form(key in arbitrary::step_key()) {
        prop_assert_eq!(key.to_string().parse::<StepKey>(), Ok(key));
    }

    #[test]
    fn any_digest_survives_its_text_form(bytes in any::<[u8; 32]>()) {
        prop_assert_eq!(Digest(bytes).to_string().parse::<Digest>(), Ok(Digest(bytes)));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in any::<String>()) {
        let _ = (text.parse::<StepKey>(), text.parse::<Digest>());
    }
}
