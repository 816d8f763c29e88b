//! How values are written: spans of time as numbers of seconds or milliseconds, addresses, references.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::secret::SecretRef;

/// The longest span that can be set. Longer is a slip, and sums with it might leave the calendar.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<SecretRef>),
    One(SecretRef),
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    span(
        deserializer,
        1.0,
        "must be a number of seconds, from 0 to 31622400 (a year)",
    )
}

pub(super) fn optional_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    seconds(deserializer).map(Some)
}

pub(super) fn milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    span(
        deserializer,
        1_000.0,
        "must be a number of milliseconds, from 0 to 31622400000 (a year)",
    )
}

fn span<'de, D: Deserializer<'de>>(
    deserializer: D,
    per_second: f64,
    must: &str,
) -> Result<Duration, D::Error> {
    f64::deserialize(deserializer)
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number / per_second).ok())
        .filter(|span| *span <= LONGEST)
        .ok_or_else(|| Error::custom(must))
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    String::deserialize(deserializer)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Error::custom("must be an IP address and a port, as in 127.0.0.1:8080 or [::]:8080")
        })
}

pub(super) fn references<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<SecretRef>, D::Error> {
    match OneOrMany::deserialize(deserializer) {
        Ok(OneOrMany::Many(references)) => Ok(references),
        Ok(OneOrMany::One(reference)) => Ok(vec![reference]),
        // The reason of an untagged enum names no value, but neither does it help.
        Err(_) => Err(Error::custom(super::NotAReference)),
    }
}
