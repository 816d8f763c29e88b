//! The parts of a template that are filled.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::Fields;
use super::super::whole::keeps_the_unknown;
use super::{Card, Parameter};

/// A part of a template (Meta, "Template components").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
pub enum Component {
    /// A text, a file, a place or a product.
    Header(Filled),
    /// The placeholders of the text.
    Body(Filled),
    /// A button that takes a value.
    Button(Button),
    /// When the offer ends.
    LimitedTimeOffer(Filled),
    /// Where an order stands (Meta, "Order status templates").
    OrderStatus(Filled),
    /// A row of cards.
    Carousel(Carousel),
    /// Anything else, as it was written.
    #[serde(untagged)]
    Other(Value),
}
keeps_the_unknown!(Component);

/// A part that is filled by parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// In the order of the placeholders, or by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<Parameter>>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A button that takes a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Button {
    /// `url`, `quick_reply`, `copy_code`, `flow`, `catalog`, `mpm`, `voice_call`, …; Meta's pages write some in capitals.
    pub sub_type: String,
    /// Its place among the template's buttons, 0 to 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<Index>,
    /// What it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<Parameter>>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A button's place. Meta's pages write it as a string and as a number, and both are taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Index {
    /// `0`
    Number(u64),
    /// `"0"`
    Text(String),
}

/// A row of cards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carousel {
    /// 2 to 10.
    pub cards: Vec<Card>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl Filled {
    /// Filled by these.
    pub fn by(parameters: impl IntoIterator<Item = Parameter>) -> Self {
        Self {
            parameters: Some(parameters.into_iter().collect()),
            other: Fields::new(),
        }
    }
}

impl Component {
    /// A button that takes values.
    pub(super) fn button(
        sub_type: &str,
        index: u8,
        parameters: impl IntoIterator<Item = Parameter>,
    ) -> Self {
        Self::Button(Button {
            sub_type: sub_type.to_owned(),
            index: Some(Index::Text(index.to_string())),
            parameters: Some(parameters.into_iter().collect()),
            other: Fields::new(),
        })
    }

    /// A row of cards, numbered as they come.
    pub(super) fn carousel(cards: impl IntoIterator<Item = Card>) -> Self {
        let cards = cards.into_iter().zip(0..).map(|(card, place)| Card {
            card_index: place,
            ..card
        });
        Self::Carousel(Carousel {
            cards: cards.collect(),
            other: Fields::new(),
        })
    }
}

/// What a template and a card of it have in common. The type has `fn with(self, Component) -> Self`.
macro_rules! fills_components {
    ($name:ident) => {
        impl $name {
            /// Fills the header: by a text, an [`image`](crate::message::image), a [`video`](crate::message::video), a
            /// [`document`](crate::message::document), a [`location`](crate::message::location) or a
            /// [`product`](crate::message::template::Parameter::product).
            pub fn header(
                self,
                parameter: impl Into<$crate::message::template::Parameter>,
            ) -> Self {
                let filled = $crate::message::template::Filled::by([parameter.into()]);
                self.with($crate::message::template::Component::Header(filled))
            }

            /// Fills the body's placeholders: in their order, or by their names with
            /// [`Parameter::named`](crate::message::template::Parameter::named).
            pub fn body<P: Into<$crate::message::template::Parameter>>(
                self,
                parameters: impl IntoIterator<Item = P>,
            ) -> Self {
                let filled =
                    $crate::message::template::Filled::by(parameters.into_iter().map(Into::into));
                self.with($crate::message::template::Component::Body(filled))
            }

            /// Ends the address behind a button.
            pub fn url_button(self, index: u8, end: impl Into<String>) -> Self {
                let end = $crate::message::template::Parameter::from(end.into());
                self.button("url", index, [end])
            }

            /// What comes back when a quick reply button is tapped.
            pub fn quick_reply(self, index: u8, payload: impl Into<String>) -> Self {
                let payload = $crate::message::template::Parameter::Payload {
                    payload: payload.into(),
                };
                self.button("quick_reply", index, [payload])
            }

            /// Fills a button of any other kind.
            pub fn button(
                self,
                sub_type: &str,
                index: u8,
                parameters: impl IntoIterator<Item = $crate::message::template::Parameter>,
            ) -> Self {
                self.with($crate::message::template::Component::button(
                    sub_type, index, parameters,
                ))
            }
        }
    };
}
pub(super) use fills_components;
