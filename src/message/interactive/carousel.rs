//! A row of cards.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Fields;
use super::super::whole::keeps_the_unknown;
use super::prompt::is_interactive;
use super::{CtaUrl, Header, Named, Product, Prompt, Words};

/// Two to ten cards, all of one kind (Meta, "Interactive media carousel messages", "Interactive product carousel messages"). Outside of
/// them there is a body and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cards {
    /// The cards.
    pub cards: Vec<Card>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Its place, from 0.
    pub card_index: u32,
    /// `cta_url` or `product`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// An image or a video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    /// What it says: at most 160 characters and two line breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Words>,
    /// What can be tapped.
    pub action: CardAction,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// What can be tapped on a card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", untagged)]
pub enum CardAction {
    /// A button that opens an address.
    Url(Named<CtaUrl>),
    /// Buttons to answer by.
    Replies {
        /// The buttons.
        buttons: Vec<CardButton>,
    },
    /// A product of a catalog.
    Product(Product),
    /// Anything else, as it was written.
    Other(Value),
}
keeps_the_unknown!(CardAction);

/// A button to answer by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardButton {
    /// `quick_reply`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says and what comes back.
    pub quick_reply: CardReply,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// What a button says and what comes back.
pub type CardReply = super::Reply;

is_interactive!(Cards => Carousel);

/// A text with a row of two to ten cards, all of one kind.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message::{self, Media, interactive::Card};
///
/// let card = |name: &str| Card::url(
///     message::image(Media::link(format!("https://example.com/{name}.jpg"))),
///     "Buy now",
///     format!("https://example.com/{name}"),
/// ).body(name);
/// let plants = message::carousel("Our latest arrivals", [card("aloe"), card("fern")]);
/// assert_eq!(
///     serde_json::to_value(&plants)?["action"]["cards"][1],
///     json!({
///         "card_index": 1,
///         "type": "cta_url",
///         "header": {"type": "image", "image": {"link": "https://example.com/fern.jpg"}},
///         "body": {"text": "fern"},
///         "action": {"name": "cta_url", "parameters": {"display_text": "Buy now", "url": "https://example.com/fern"}}
///     })
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn carousel(body: impl Into<String>, cards: impl IntoIterator<Item = Card>) -> Prompt<Cards> {
    let cards = cards.into_iter().zip(0..).map(|(card, place)| Card {
        card_index: place,
        ..card
    });
    let cards = Cards {
        cards: cards.collect(),
        other: Fields::new(),
    };
    Prompt::saying(body, cards)
}

impl Card {
    fn new(kind: &str, header: Option<Header>, action: CardAction) -> Self {
        Self {
            card_index: 0,
            kind: Some(kind.to_owned()),
            header,
            body: None,
            action,
            other: Fields::new(),
        }
    }

    /// An image or a video with a button that opens an address.
    pub fn url(
        header: impl Into<Header>,
        display_text: impl Into<String>,
        url: impl Into<String>,
    ) -> Self {
        let action = CardAction::Url(CtaUrl::action(display_text, url));
        Self::new("cta_url", Some(header.into()), action)
    }

    /// An image or a video with buttons to answer by: what comes back, and what they say.
    pub fn replies<I: Into<String>, T: Into<String>>(
        header: impl Into<Header>,
        buttons: impl IntoIterator<Item = (I, T)>,
    ) -> Self {
        let button = |(id, title): (I, T)| CardButton {
            kind: "quick_reply".to_owned(),
            quick_reply: CardReply {
                id: id.into(),
                title: title.into(),
                other: Fields::new(),
            },
            other: Fields::new(),
        };
        let action = CardAction::Replies {
            buttons: buttons.into_iter().map(button).collect(),
        };
        Self::new("cta_url", Some(header.into()), action)
    }

    /// A product of a catalog, which all cards share.
    pub fn product(catalog: impl Into<String>, product: impl Into<String>) -> Self {
        let action = CardAction::Product(Product {
            catalog_id: catalog.into(),
            product_retailer_id: product.into(),
            other: Fields::new(),
        });
        Self::new("product", None, action)
    }

    /// With a text of at most 160 characters.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into().into());
        self
    }
}
