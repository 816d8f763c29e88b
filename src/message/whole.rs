//! Keeps what is not known: a body that is read and written again is the same JSON value.
//!
//! A struct has a field for each property that it knows and `other` for the rest. Where a value does not fit its struct (a string
//! for a number, a `null`, a missing property), the nearest enum around it keeps it as it is, in its variant `Other`. That nothing is
//! lost is not hoped for but looked at: what was read is written again and compared, so a mistake in a struct costs its fields their
//! names and nobody a property.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Properties that this version has no field for, by their names. They are written as they were read. A property that has a field
/// of its own belongs there.
pub type Fields = Map<String, Value>;

/// The value as a `T`, or given back where a `T` cannot hold all of it.
pub(super) fn exactly<T: DeserializeOwned + Serialize>(value: Value) -> Result<T, Value> {
    match T::deserialize(&value) {
        Ok(read) if is_written_as(&read, &value) => Ok(read),
        Ok(_) | Err(_) => Err(value),
    }
}

/// Whether nothing of the value is missing in what was read from it.
pub(super) fn is_written_as(read: &impl Serialize, value: &Value) -> bool {
    serde_json::to_value(read).is_ok_and(|written| written == *value)
}

/// For enums that are derived with `#[serde(remote = "Self")]` and have a last variant `Other(Value)`: they take the value as it is
/// where no other variant can hold all of it.
macro_rules! keeps_the_unknown {
    ($($name:ident),+ $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // The derived function, which is no method of the trait.
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                match Self::deserialize(&value) {
                    Ok(read) if $crate::message::whole::is_written_as(&read, &value) => Ok(read),
                    Ok(_) | Err(_) => Ok(Self::Other(value)),
                }
            }
        }
    )+};
}
pub(super) use keeps_the_unknown;
