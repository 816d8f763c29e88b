//! Products of a catalog: one, some, or all.

use serde::{Deserialize, Serialize};

use super::super::Fields;
use super::super::template::ProductSection;
use super::prompt::is_interactive;
use super::{Prompt, TakesFooter, TakesTextHeader};

/// A product (Meta, "Share products with customers"). It has no header; its body is free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// The catalog.
    pub catalog_id: String,
    /// The product's id in it: at most 100 characters.
    pub product_retailer_id: String,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// Up to 30 products in up to ten sections (Meta, "Share products with customers"). It needs a header, a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProductList {
    /// The catalog.
    pub catalog_id: String,
    /// The products.
    pub sections: Vec<ProductSection>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// A button that shows the whole catalog (Meta, "Share products with customers").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// `catalog_message`.
    pub name: String,
    /// How it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<CatalogParameters>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

/// How a catalog is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CatalogParameters {
    /// The product whose picture is shown; else the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail_product_retailer_id: Option<String>,
    /// What is not known.
    #[serde(flatten)]
    pub other: Fields,
}

impl TakesFooter for Product {}
impl TakesTextHeader for ProductList {}
impl TakesFooter for ProductList {}
impl TakesFooter for Catalog {}
is_interactive!(Product => Product, ProductList => ProductList, Catalog => CatalogMessage);

/// A product of a catalog.
pub fn product(catalog: impl Into<String>, product: impl Into<String>) -> Prompt<Product> {
    Prompt::new(Product {
        catalog_id: catalog.into(),
        product_retailer_id: product.into(),
        other: Fields::new(),
    })
}

/// Products of a catalog, under a header and a text.
///
/// ```
/// use serde_json::json;
/// use wa_outbox::message;
///
/// let plants = message::product_list("Plants", "What we have", "194836987003835").section("Ferns", ["fern-1", "fern-2"]);
/// assert_eq!(
///     serde_json::to_value(&plants)?,
///     json!({
///         "header": {"type": "text", "text": "Plants"},
///         "body": {"text": "What we have"},
///         "action": {"catalog_id": "194836987003835", "sections": [
///             {"title": "Ferns", "product_items": [{"product_retailer_id": "fern-1"}, {"product_retailer_id": "fern-2"}]}
///         ]}
///     })
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn product_list(
    header: impl Into<String>,
    body: impl Into<String>,
    catalog: impl Into<String>,
) -> Prompt<ProductList> {
    let list = ProductList {
        catalog_id: catalog.into(),
        sections: Vec::new(),
        other: Fields::new(),
    };
    Prompt::saying(body, list).header_text(header)
}

/// A text with a button that shows the whole catalog.
pub fn catalog(body: impl Into<String>) -> Prompt<Catalog> {
    let catalog = Catalog {
        name: "catalog_message".to_owned(),
        parameters: None,
        other: Fields::new(),
    };
    Prompt::saying(body, catalog)
}

impl Prompt<Product> {
    /// With a text.
    pub fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into().into());
        self
    }
}

impl Prompt<ProductList> {
    /// With products under a title of at most 24 characters.
    pub fn section<P: Into<String>>(
        mut self,
        title: impl Into<String>,
        products: impl IntoIterator<Item = P>,
    ) -> Self {
        self.action
            .sections
            .push(ProductSection::new(title, products));
        self
    }
}

impl Prompt<Catalog> {
    /// With this product's picture.
    pub fn thumbnail(mut self, product: impl Into<String>) -> Self {
        self.action.parameters = Some(CatalogParameters {
            thumbnail_product_retailer_id: Some(product.into()),
            other: Fields::new(),
        });
        self
    }
}
