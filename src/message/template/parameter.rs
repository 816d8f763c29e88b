//! The values that fill a template.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::whole::keeps_the_unknown;
use super::super::{Document, Fields, Image, Location, Video};

/// A value that fills a place of a template (Meta, "Template messages"). One with a property that is not known is kept as
/// [`Parameter::Other`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
pub enum Parameter {
    /// A text; not empty.
    Text {
        /// The placeholder's name, where placeholders have names.
        #[serde(skip_serializing_if = "Option::is_none")]
        parameter_name: Option<String>,
        /// What stands in its place.
        text: String,
    },
    /// An amount of money. The Cloud API shows its text.
    Currency {
        /// The amount.
        currency: Currency,
    },
    /// A time. The Cloud API shows its text.
    DateTime {
        /// The time.
        date_time: DateTime,
    },
    /// An image, for a header.
    Image {
        /// The file.
        image: Image,
    },
    /// A video, for a header.
    Video {
        /// The file.
        video: Video,
    },
    /// A document, for a header.
    Document {
        /// The file.
        document: Document,
    },
    /// A place, for a header.
    Location {
        /// The place.
        location: Location,
    },
    /// A product, for a header.
    Product {
        /// The product.
        product: TemplateProduct,
    },
    /// What comes back when a button is tapped.
    Payload {
        /// At most 256 characters.
        payload: String,
    },
    /// What a button opens.
    Action {
        /// A flow, a catalog or products of it.
        action: Action,
    },
    /// A code that a button copies; at most 15 characters.
    CouponCode {
        /// The code.
        coupon_code: String,
    },
    /// When an offer ends.
    LimitedTimeOffer {
        /// Its end.
        limited_time_offer: LimitedTimeOffer,
    },
    /// For how long a call button may be tapped (Meta, "Call button messages").
    TtlMinutes {
        /// Minutes.
        ttl_minutes: u32,
    },
    /// Anything else, as it was written.
    #[serde(untagged)]
    Other(Value),
}
keeps_the_unknown!(Parameter);

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Currency {
    /// As it is shown.
    pub fallback_value: String,
    /// ISO 4217, such as `USD`.
    pub code: String,
    /// The amount, times 1000.
    pub amount_1000: i64,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DateTime {
    /// As it is shown.
    pub fallback_value: String,
    /// What is not known; year, month, hour and so on, which the Cloud API ignores.
    #[serde(flatten)]
    pub other: Fields,
}

/// A product of a catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateProduct {
    /// The product's id in the catalog.
    pub product_retailer_id: String,
    /// The catalog.
    pub catalog_id: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// What a button opens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The product whose picture is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail_product_retailer_id: Option<String>,
    /// Products of a catalog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sections: Option<Vec<ProductSection>>,
    /// What a flow is told from others by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_token: Option<String>,
    /// Data for the first screen of a flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_action_data: Option<Fields>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Products under a title; also in product lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductSection {
    /// At most 24 characters; needed when there are several sections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The products.
    pub product_items: Vec<ProductItem>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A product of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductItem {
    /// Its id in the catalog.
    pub product_retailer_id: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// When an offer ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitedTimeOffer {
    /// Milliseconds since 1970, UTC.
    pub expiration_time_ms: i64,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl Parameter {
    /// A text for the placeholder of this name.
    pub fn named(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Text {
            parameter_name: Some(name.into()),
            text: text.into(),
        }
    }

    /// An amount of money: as it is shown, its ISO 4217 code, and the amount times 1000.
    pub fn currency(shown: impl Into<String>, code: impl Into<String>, amount_1000: i64) -> Self {
        Self::Currency {
            currency: Currency {
                fallback_value: shown.into(),
                code: code.into(),
                amount_1000,
                other: Fields::new(),
            },
        }
    }

    /// A time, as it is shown.
    pub fn date_time(shown: impl Into<String>) -> Self {
        Self::DateTime {
            date_time: DateTime {
                fallback_value: shown.into(),
                other: Fields::new(),
            },
        }
    }

    /// A product of a catalog.
    pub fn product(product: impl Into<String>, catalog: impl Into<String>) -> Self {
        Self::Product {
            product: TemplateProduct {
                product_retailer_id: product.into(),
                catalog_id: catalog.into(),
                other: Fields::new(),
            },
        }
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Parameter {
    fn from(text: String) -> Self {
        Self::Text {
            parameter_name: None,
            text,
        }
    }
}

impl From<Image> for Parameter {
    fn from(image: Image) -> Self {
        Self::Image { image }
    }
}

impl From<Video> for Parameter {
    fn from(video: Video) -> Self {
        Self::Video { video }
    }
}

impl From<Document> for Parameter {
    fn from(document: Document) -> Self {
        Self::Document { document }
    }
}

impl From<Location> for Parameter {
    fn from(location: Location) -> Self {
        Self::Location { location }
    }
}

impl ProductSection {
    /// These products of the catalog under a title.
    pub fn new<P: Into<String>>(
        title: impl Into<String>,
        products: impl IntoIterator<Item = P>,
    ) -> Self {
        let item = |product: P| ProductItem {
            product_retailer_id: product.into(),
            other: Fields::new(),
        };
        Self {
            title: Some(title.into()),
            product_items: products.into_iter().map(item).collect(),
            other: Fields::new(),
        }
    }
}
