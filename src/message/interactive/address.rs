//! Asks for a delivery address.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::prompt::is_interactive;
use super::{Named, Prompt};

/// Asks for a delivery address, in India and Singapore (Meta, "Address messages"). Its fields are named as Meta's page names them: `name`,
/// `phone_number`, `in_pin_code` (at most 6 characters), `sg_post_code`, `address`, `city`, `state`, …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressRequest {
    /// `IN` or `SG`; it must be the country of the recipient's number.
    pub country: String,
    /// What the form begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<BTreeMap<String, String>>,
    /// Addresses to choose from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_addresses: Option<Vec<SavedAddress>>,
    /// What is wrong with the values, by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_errors: Option<BTreeMap<String, String>>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// An address to choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedAddress {
    /// Comes back when it is chosen.
    pub id: String,
    /// Its fields.
    pub value: BTreeMap<String, String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

is_interactive!(Named<AddressRequest> => AddressMessage);

/// A text that asks for a delivery address in this country (`IN`, `SG`).
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let form = message::address_request("Where to?", "IN")
///     .value("name", "Ada")
///     .value("in_pin_code", "666666")
///     .error("in_pin_code", "There is no such pin code");
/// assert_eq!(
///     serde_json::to_value(&form)?["action"],
///     json!({"name": "address_message", "parameters": {
///         "country": "IN",
///         "values": {"name": "Ada", "in_pin_code": "666666"},
///         "validation_errors": {"in_pin_code": "There is no such pin code"}
///     }})
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn address_request(
    body: impl Into<String>,
    country: impl Into<String>,
) -> Prompt<Named<AddressRequest>> {
    let request = AddressRequest {
        country: country.into(),
        values: None,
        saved_addresses: None,
        validation_errors: None,
        other: Fields::new(),
    };
    Prompt::saying(body, Named::new("address_message", request))
}

impl Prompt<Named<AddressRequest>> {
    /// What a field begins with.
    pub fn value(mut self, field: impl Into<String>, value: impl Into<String>) -> Self {
        let values = self.action.parameters.values.get_or_insert_default();
        values.insert(field.into(), value.into());
        self
    }

    /// What is wrong with a field's value.
    pub fn error(mut self, field: impl Into<String>, error: impl Into<String>) -> Self {
        let errors = &mut self.action.parameters.validation_errors;
        errors
            .get_or_insert_default()
            .insert(field.into(), error.into());
        self
    }

    /// With an address to choose: its id, and its fields with their values.
    pub fn saved_address<F: Into<String>, V: Into<String>>(
        mut self,
        id: impl Into<String>,
        fields: impl IntoIterator<Item = (F, V)>,
    ) -> Self {
        let fields = fields
            .into_iter()
            .map(|(field, value)| (field.into(), value.into()));
        let address = SavedAddress {
            id: id.into(),
            value: fields.collect(),
            other: Fields::new(),
        };
        let saved = &mut self.action.parameters.saved_addresses;
        saved.get_or_insert_default().push(address);
        self
    }
}
