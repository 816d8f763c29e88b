//! Interactive messages about products, addresses and orders.

use super::interactive::{name, section_title};
use super::look::{Be, Look, MayBe, Object};
use super::rule::{Found, Limit, rules};

rules! {
    RETAILER_ID "product_retailer_id_length" Refused: "the id of a product keeps its length", Limit::Characters(1, 100);
        "Meta, Messages reference (action object)"; "use the id that the catalog has".
    CATALOG_ID "catalog_id_empty" Refused: "a catalog is named", Limit::Words("not empty");
        "Meta, Messages reference (action object)"; "add the id of the catalog".
    SECTIONS_COUNT "product_sections_count" Refused: "products stand in so many sections", Limit::Items(1, 10);
        "Meta, OpenAPI v23.0 (product_list)"; "join some of them".
    PRODUCTS_COUNT "products_count" Refused: "all sections together have so many products", Limit::Items(1, 30);
        "Meta, OpenAPI v23.0 (product_list)"; "take some out".
    COUNTRY "address_country" Doubtful: "an address is asked for in a country that has them", Limit::OneOf(&["IN", "SG"]);
        "Meta, Address messages"; "write the ISO code; elsewhere it is not shown (1026)".
    PIN_CODE "address_pin_code_length" Refused: "a postal code keeps its length", Limit::Characters(0, 6);
        "Meta, Address messages (in_pin_code, sg_post_code)"; "write six digits".
    REFERENCE "order_reference_id" Doubtful: "the reference of an order is short and plain", Limit::Words("1 to 35 letters, digits, _ - .");
        "Meta, Receive payments (order_details object)"; "shorten it, and leave other characters out".
    ORDER_TYPE "order_type" Doubtful: "goods are digital or physical", Limit::OneOf(&["digital-goods", "physical-goods"]);
        "Meta, Receive payments (order_details object)"; "use one of them".
    ORDER_AMOUNT "order_amount" Refused: "an amount has a value and an offset", Limit::Words("value and offset, both numbers");
        "Meta, Receive payments (order_details object)"; "write {\"value\":1050,\"offset\":100} for 10.50".
    ORDER_TOTAL "order_total" Doubtful: "the total is what its parts come to", Limit::Words("subtotal + tax + shipping - discount");
        "Meta, Receive payments (order_details object)"; "add them up again".
    ORDER_ITEMS "order_items_count" Doubtful: "an order has items", Limit::Items(1, usize::MAX);
        "Meta, Receive payments (order object)"; "add what is ordered".
    ORDER_STATUS "order_status" Doubtful: "the status of an order is one of the documentation", Limit::OneOf(&["pending", "processing", "partially_shipped", "shipped", "completed", "canceled"]);
        "Meta, Receive payments (order_status object)"; "use one of them".
}

pub(super) fn product(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["catalog_id", "product_retailer_id"]);
    catalog_id(look, action);
    look.text(action, "product_retailer_id", Be, &RETAILER_ID);
}

pub(super) fn catalog_id(look: &mut Look, action: &Object<'_, '_>) {
    if look.string(action, "catalog_id", Be) == Some("") {
        let at = action.at.key("catalog_id");
        look.tell(&CATALOG_ID, &at, Found::Words("is empty"));
    }
}

pub(super) fn product_list(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["catalog_id", "sections", "name"]);
    catalog_id(look, action);
    sections(look, action);
}

/// Products by section: of a message, or of the button of a template.
pub(super) fn sections(look: &mut Look, of: &Object<'_, '_>) {
    let Some(sections) = look.list(of, "sections", Be) else {
        return;
    };
    look.count(sections.items.len(), &sections.at, &SECTIONS_COUNT);
    let mut products = 0;
    for index in 0..sections.items.len() {
        let Some(section) = sections.object(look, index) else {
            continue;
        };
        look.known(&section, &["title", "product_items"]);
        section_title(look, &section, &sections);
        let Some(items) = look.list(&section, "product_items", Be) else {
            continue;
        };
        products += items.items.len();
        for index in 0..items.items.len() {
            if let Some(item) = items.object(look, index) {
                look.known(&item, &["product_retailer_id"]);
                look.text(&item, "product_retailer_id", Be, &RETAILER_ID);
            }
        }
    }
    look.count(products, &sections.at, &PRODUCTS_COUNT);
}

pub(super) fn catalog(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["name", "parameters"]);
    name(look, action, "catalog_message");
    if let Some(parameters) = look.object(action, "parameters", MayBe) {
        look.known(&parameters, &["thumbnail_product_retailer_id"]);
        let key = "thumbnail_product_retailer_id";
        look.text(&parameters, key, MayBe, &RETAILER_ID);
    }
}

pub(super) fn address(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["name", "parameters"]);
    name(look, action, "address_message");
    let Some(parameters) = look.object(action, "parameters", Be) else {
        return;
    };
    let fields = ["country", "values", "saved_addresses", "validation_errors"];
    look.known(&parameters, &fields);
    look.one_of(&parameters, "country", Be, &COUNTRY);
    if let Some(values) = look.object(&parameters, "values", MayBe) {
        postal_codes(look, &values);
    }
    let Some(saved) = look.list(&parameters, "saved_addresses", MayBe) else {
        return;
    };
    for index in 0..saved.items.len() {
        if let Some(address) = saved.object(look, index)
            && let Some(value) = look.object(&address, "value", Be)
        {
            postal_codes(look, &value);
        }
    }
}

fn postal_codes(look: &mut Look, values: &Object<'_, '_>) {
    look.text(values, "in_pin_code", MayBe, &PIN_CODE);
    if values.str("sg_post_code").is_some() {
        look.text(values, "sg_post_code", MayBe, &PIN_CODE);
    }
}

pub(super) fn order_details(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["name", "parameters"]);
    name(look, action, "review_and_pay");
    if let Some(parameters) = look.object(action, "parameters", Be) {
        order(look, &parameters);
    }
}

/// An order to be paid: of a message, or of the button of a template.
pub(super) fn order(look: &mut Look, parameters: &Object<'_, '_>) {
    reference(look, parameters);
    look.one_of(parameters, "type", Be, &ORDER_TYPE);
    look.string(parameters, "currency", Be);
    let total = amount(look, parameters, "total_amount");
    let Some(order) = look.object(parameters, "order", MayBe) else {
        return;
    };
    look.one_of(&order, "status", Be, &ORDER_STATUS);
    if let Some(items) = look.list(&order, "items", MayBe) {
        look.count(items.items.len(), &items.at, &ORDER_ITEMS);
        for index in 0..items.items.len() {
            if let Some(item) = items.object(look, index) {
                amount(look, &item, "amount");
            }
        }
    }
    let subtotal = amount(look, &order, "subtotal");
    let mut part = |key| match order.get(key) {
        Some(_) => amount(look, &order, key),
        None => Some(0.0),
    };
    let parts = (part("tax"), part("shipping"), part("discount"));
    if let (Some(total), Some(subtotal), (Some(tax), Some(shipping), Some(discount))) =
        (total, subtotal, parts)
        && (subtotal + tax + shipping - discount - total).abs() > 0.5
    {
        let at = parameters.at.key("total_amount");
        look.tell(&ORDER_TOTAL, &at, Found::Words("is another sum"));
    }
}

fn amount(look: &mut Look, of: &Object<'_, '_>, key: &str) -> Option<f64> {
    let amount = look.object(of, key, Be)?;
    let value = amount.number("value");
    if value.is_none() || amount.number("offset").is_none() {
        let found = Found::Words("lacks a value or an offset");
        look.tell(&ORDER_AMOUNT, &amount.at, found);
    }
    value
}

fn reference(look: &mut Look, parameters: &Object<'_, '_>) {
    let Some(reference) = look.string(parameters, "reference_id", Be) else {
        return;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !(1..=35).contains(&reference.len()) || !reference.bytes().all(plain) {
        let found = Found::Characters(reference.chars().count());
        look.tell(&REFERENCE, &parameters.at.key("reference_id"), found);
    }
}

pub(super) fn order_status(look: &mut Look, action: &Object<'_, '_>) {
    look.known(action, &["name", "parameters"]);
    name(look, action, "review_order");
    if let Some(parameters) = look.object(action, "parameters", Be) {
        reference(look, &parameters);
        if let Some(order) = look.object(&parameters, "order", Be) {
            look.one_of(&order, "status", Be, &ORDER_STATUS);
        }
    }
}
