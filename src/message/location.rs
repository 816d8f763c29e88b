//! Places on a map.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::Fields;

/// A place (Meta, "Location messages"). Latitude and longitude are needed, name and address are shown where given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north.
    pub latitude: Degrees,
    /// Degrees east.
    pub longitude: Degrees,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is; shown only together with a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Decimal degrees. Meta's pages write them as numbers and as strings, and both are taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Degrees {
    /// `37.44`
    Number(Number),
    /// `"37.44"`
    Text(String),
}

impl From<f64> for Degrees {
    /// What is no number in JSON (an infinity, or none at all) becomes a text, which the rules refuse before a request is made.
    fn from(degrees: f64) -> Self {
        Number::from_f64(degrees).map_or_else(|| Self::Text(degrees.to_string()), Self::Number)
    }
}

/// A place: degrees north, degrees east.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let shop = message::location(37.25, -122.5).name("The corner shop").address("1 Main Street");
/// assert_eq!(
///     serde_json::to_value(&shop)?,
///     json!({"latitude": 37.25, "longitude": -122.5, "name": "The corner shop", "address": "1 Main Street"})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn location(latitude: impl Into<Degrees>, longitude: impl Into<Degrees>) -> Location {
    Location {
        latitude: latitude.into(),
        longitude: longitude.into(),
        name: None,
        address: None,
        other: Fields::new(),
    }
}

impl Location {
    /// What is there.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where it is.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }
}
