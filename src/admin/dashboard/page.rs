//! Which pages there are: a closed list, each with its address, so that a page and its live look are the same thing.

use std::collections::BTreeMap;

use axum::http::Uri;

use super::is_storable;

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Overview(Span),
    Senders,
    Sender(String),
    Messages(Look),
    Message(i64),
    Campaigns,
    Campaign(i64),
    Sequences(Look),
    /// The sequence that this message is in.
    Sequence(i64),
    Failures(Look),
    Uncertain(Look),
    Webhooks,
    Audit(Look),
}

/// How far charts go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Span {
    #[default]
    Quarter,
    TwoHours,
    Day,
}

/// What of a list is looked at: the parameters of its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look(BTreeMap<String, String>);

impl Look {
    pub(super) fn of(query: &str) -> Self {
        let pairs = serde_urlencoded::from_str::<Vec<(String, String)>>(query).unwrap_or_default();
        let given = |(name, value): (String, String)| {
            let value = value.trim().to_owned();
            // A text that cannot be stored is asked for by nobody.
            (!value.is_empty() && is_storable(&value)).then_some((name, value))
        };
        Self(pairs.into_iter().filter_map(given).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// The same with this parameter set, as the end of an address.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let mut pairs = self.0.clone();
        if value.is_empty() {
            pairs.remove(name);
        } else {
            pairs.insert(name.to_owned(), value.to_owned());
        }
        let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
        if query.is_empty() {
            query
        } else {
            format!("?{query}")
        }
    }
}

impl Span {
    pub(super) const ALL: [Self; 3] = [Self::Quarter, Self::TwoHours, Self::Day];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::TwoHours => "2h",
            Self::Day => "24h",
        }
    }

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Quarter => "15 min",
            Self::TwoHours => "2 h",
            Self::Day => "24 h",
        }
    }

    fn of(look: &Look) -> Self {
        let word = look.get("span").unwrap_or_default();
        let found = Self::ALL.into_iter().find(|span| span.word() == word);
        found.unwrap_or_default()
    }
}

impl Page {
    /// The page at an address; none: there is none.
    pub(super) fn at(address: &Uri) -> Option<Self> {
        let look = Look::of(address.query().unwrap_or_default());
        let parts: Vec<&str> = address.path().split('/').skip(1).collect();
        let number = |text: &str| text.parse().ok();
        Some(match parts.as_slice() {
            [""] => Self::Overview(Span::of(&look)),
            ["senders"] => Self::Senders,
            // An id of a sender is one plain word (a constraint of wa.senders), so it stands in an address as it is.
            ["senders", sender] if !sender.is_empty() => Self::Sender((*sender).to_owned()),
            ["messages"] => Self::Messages(look),
            ["messages", id] => Self::Message(number(id)?),
            ["campaigns"] => Self::Campaigns,
            ["campaigns", id] => Self::Campaign(number(id)?),
            ["sequences"] => Self::Sequences(look),
            ["sequences", "of", id] => Self::Sequence(number(id)?),
            ["failures"] => Self::Failures(look),
            ["uncertain"] => Self::Uncertain(look),
            ["webhooks"] => Self::Webhooks,
            ["audit"] => Self::Audit(look),
            _ => return None,
        })
    }

    /// Under which heading of the navigation it stands.
    pub(super) fn heading(&self) -> &'static str {
        match self {
            Self::Overview(_) => "/",
            Self::Senders | Self::Sender(_) => "/senders",
            Self::Messages(_) | Self::Message(_) => "/messages",
            Self::Campaigns | Self::Campaign(_) => "/campaigns",
            Self::Sequences(_) | Self::Sequence(_) => "/sequences",
            Self::Failures(_) => "/failures",
            Self::Uncertain(_) => "/uncertain",
            Self::Webhooks => "/webhooks",
            Self::Audit(_) => "/audit",
        }
    }
}

/// The navigation: address and name.
pub(super) const NAVIGATION: [(&str, &str); 9] = [
    ("/", "Overview"),
    ("/senders", "Senders"),
    ("/messages", "Messages"),
    ("/campaigns", "Campaigns"),
    ("/sequences", "Sequences"),
    ("/failures", "Failures"),
    ("/uncertain", "Uncertain"),
    ("/webhooks", "Webhooks"),
    ("/audit", "Audit"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Option<Page> {
        Page::at(&address.parse().expect("an address"))
    }

    #[test]
    fn each_heading_leads_to_its_page() {
        for (address, _) in NAVIGATION {
            assert_eq!(at(address).expect("a page").heading(), address);
        }
    }

    #[test]
    fn what_is_no_page_is_none() {
        for address in [
            "/nothing",
            "/messages/x",
            "/messages/1/2",
            "/senders/",
            "//",
            "/sequences/of",
        ] {
            assert_eq!(at(address), None, "{address}");
        }
        assert_eq!(at("/messages/7"), Some(Page::Message(7)));
        assert_eq!(at("/?span=2h"), Some(Page::Overview(Span::TwoHours)));
        assert_eq!(at("/?span=9h"), Some(Page::Overview(Span::Quarter)));
    }

    #[test]
    fn a_look_can_be_changed_in_one_place() {
        let look = Look::of("state=failed&sender=4711&before=");
        assert_eq!(look.get("before"), None);
        assert_eq!(
            look.with("before", "7"),
            "?before=7&sender=4711&state=failed"
        );
        assert_eq!(look.with("state", ""), "?sender=4711");
        assert_eq!(Look::of("a=1").with("a", ""), "");
        assert_eq!(Look::of("sender=%00&state=a%00b"), Look::default());
    }
}
