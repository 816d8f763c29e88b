//! Cards of people, to be saved or written to.

use serde::{Deserialize, Serialize};

use super::Fields;

/// Cards of people: 1 to 257 (Meta, "Contacts messages").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Contacts(pub Vec<Contact>);

/// A person's card. Only the name is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    /// Their name.
    pub name: Name,
    /// Their numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phones: Option<Vec<Phone>>,
    /// Their mail addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emails: Option<Vec<Email>>,
    /// Where they live and work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<Address>>,
    /// Their pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<Url>>,
    /// Where they work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<Organization>,
    /// Their birthday: `YYYY-MM-DD`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birthday: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A name: whole, and at least one of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Name {
    /// As it is shown.
    pub formatted_name: String,
    /// Ada.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Lovelace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// In between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub middle_name: Option<String>,
    /// Behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// In front of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phone {
    /// As it is shown; with `wa_id`, anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// `Mobile`, `Work`, any word.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Their id on WhatsApp, so that the card offers to write to them rather than to invite them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wa_id: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A mail address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Email {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `Work`, any word.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Where somebody lives or works.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Address {
    /// Street and number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    /// The city.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// The state's two letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The postal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zip: Option<String>,
    /// The country's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The country's two letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    /// `Home`, any word.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Url {
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `Work`, any word.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Where somebody works.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Organization {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<String>,
    /// The part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
    /// As what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Cards of people.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message::{self, contacts::Contact};
///
/// let ada = Contact::named("Ada", "Lovelace").mobile("+44 20 7946 0000", Some("442079460000"));
/// assert_eq!(
///     serde_json::to_value(message::contacts([ada]))?,
///     json!([{
///         "name": {"formatted_name": "Ada Lovelace", "first_name": "Ada", "last_name": "Lovelace"},
///         "phones": [{"phone": "+44 20 7946 0000", "type": "Mobile", "wa_id": "442079460000"}]
///     }])
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn contacts(contacts: impl IntoIterator<Item = Contact>) -> Contacts {
    Contacts(contacts.into_iter().collect())
}

impl Contact {
    /// A card of a person with these names.
    pub fn named(first_name: impl Into<String>, last_name: impl Into<String>) -> Self {
        let (first_name, last_name) = (first_name.into(), last_name.into());
        Self {
            name: Name {
                formatted_name: format!("{first_name} {last_name}").trim().to_owned(),
                first_name: Some(first_name),
                last_name: Some(last_name),
                middle_name: None,
                suffix: None,
                prefix: None,
                other: Fields::new(),
            },
            phones: None,
            emails: None,
            addresses: None,
            urls: None,
            org: None,
            birthday: None,
            other: Fields::new(),
        }
    }

    /// With a mobile number and, where it is known, its id on WhatsApp.
    pub fn mobile(mut self, phone: impl Into<String>, wa_id: Option<&str>) -> Self {
        self.phones.get_or_insert_default().push(Phone {
            phone: Some(phone.into()),
            kind: Some("Mobile".to_owned()),
            wa_id: wa_id.map(str::to_owned),
            other: Fields::new(),
        });
        self
    }

    /// With a mail address; `kind` is any word, such as `Work`.
    pub fn email(mut self, email: impl Into<String>, kind: impl Into<String>) -> Self {
        self.emails.get_or_insert_default().push(Email {
            email: Some(email.into()),
            kind: Some(kind.into()),
            other: Fields::new(),
        });
        self
    }

    /// With a page; `kind` is any word, such as `Work`.
    pub fn url(mut self, url: impl Into<String>, kind: impl Into<String>) -> Self {
        self.urls.get_or_insert_default().push(Url {
            url: Some(url.into()),
            kind: Some(kind.into()),
            other: Fields::new(),
        });
        self
    }

    /// With an address.
    pub fn address(mut self, address: Address) -> Self {
        self.addresses.get_or_insert_default().push(address);
        self
    }

    /// With where they work.
    pub fn organization(mut self, organization: Organization) -> Self {
        self.org = Some(organization);
        self
    }
}
