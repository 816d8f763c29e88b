//! Cards of a template's carousel.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::Component;
use super::component::fills_components;

/// What fills one card.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Its place, from 0.
    pub card_index: u32,
    /// What fills it.
    pub components: Vec<Component>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

fills_components!(Card);

impl Card {
    /// A card that nothing fills yet. Its place is given by the carousel.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, component: Component) -> Self {
        self.components.push(component);
        self
    }
}
