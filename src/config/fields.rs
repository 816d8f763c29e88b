//! Which settings there are, asked of the types that hold them, so that there is no second list to keep.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};
use toml::{Table, Value};

use super::{
    Admin, Database, Http, Log, Media, Reconcile, Retention, Retry, Sender, Sequence, Token,
    Traces, Webhook, Worker,
};

/// One section of the settings.
pub(super) struct Section {
    /// Its name.
    pub(super) name: &'static str,
    /// The keys it has.
    pub(super) keys: &'static [&'static str],
    try_out: fn(Table) -> Result<(), String>,
}

/// All sections.
pub(super) fn sections() -> [Section; 14] {
    [
        section::<Database>("database"),
        section::<Http>("http"),
        section::<Worker>("worker"),
        section::<Retry>("retry"),
        section::<Reconcile>("reconcile"),
        section::<Sequence>("sequence"),
        section::<Media>("media"),
        section::<Retention>("retention"),
        section::<Webhook>("webhook"),
        section::<Admin>("admin"),
        section::<Traces>("traces"),
        section::<Token>("token"),
        section::<Log>("log"),
        section::<Sender>("sender"),
    ]
}

impl Section {
    /// Whether this key may have this value.
    ///
    /// # Errors
    /// What is wrong with the value; a secret is not repeated.
    pub(super) fn accepts(&self, key: &str, value: &Value) -> Result<(), String> {
        (self.try_out)(Table::from_iter([(key.to_owned(), value.clone())]))
    }
}

fn section<T: DeserializeOwned>(name: &'static str) -> Section {
    Section {
        name,
        keys: keys_of::<T>(),
        try_out: try_out::<T>,
    }
}

fn try_out<T: DeserializeOwned>(settings: Table) -> Result<(), String> {
    T::deserialize(Value::Table(settings))
        .map(|_| ())
        .map_err(|error| in_words(error.message()))
}

/// A word that is none of those there are is told in other words than those of a programmer.
fn in_words(message: &str) -> String {
    let known = message
        .strip_prefix("unknown variant ")
        .and_then(|message| message.split_once(", expected "));
    let Some((_, known)) = known else {
        return message.to_owned();
    };
    let known = known.replace('`', "\"").replace("one of ", "");
    match known.rsplit_once(", ") {
        Some((others, last)) => format!("must be {others} or {last}"),
        None => format!("must be {known}"),
    }
}

/// The names of a type's fields, as they are written. A type tells them when it asks to be read; nothing is read.
fn keys_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    match T::deserialize(Asked) {
        Ok(_) => &[],
        Err(Fields(names)) => names,
    }
}

/// Answers every request to be read with the names that came with it.
struct Asked;

#[derive(Debug)]
struct Fields(&'static [&'static str]);

impl<'de> Deserializer<'de> for Asked {
    type Error = Fields;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fields> {
        Err(Fields(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Fields> {
        Err(Fields(names))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl de::Error for Fields {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl std::error::Error for Fields {}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("asked for the names of fields")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_section_of_the_settings_is_known_and_has_keys() {
        let names = sections().map(|section| section.name);
        assert_eq!(names, keys_of::<Config>());
        assert!(sections().iter().all(|section| !section.keys.is_empty()));
    }

    #[test]
    fn keys_are_known_as_they_are_written() {
        let [_, http, ..] = sections();
        assert_eq!(
            http.keys,
            [
                "connect_timeout_s",
                "response_timeout_s",
                "pool_idle_timeout_s"
            ]
        );
    }
}
