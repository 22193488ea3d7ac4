//! Floating-point numbers in JSON that read back bit by bit. `serde_json` alone may be off in the last place.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use serde_json::value::RawValue;

/// Writes the shortest text that reads back equal.
pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(*number)
}

/// Reads by the standard library, which rounds correctly.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let text = <&'de RawValue>::deserialize(from)?.get();
    text.parse().map_err(|_| D::Error::custom(format!("{text} is not a number")))
}
