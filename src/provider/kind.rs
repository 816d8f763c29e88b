//! The three kinds of provider, and what each of them can.
//!
//! Whatever differs between them is a line of [`ProviderKind::capabilities`]: the shape of a request, the way in, whether our
//! token comes back, how fast is too fast. No other place decides by a provider's name, so a fourth kind would be one more line
//! here, and the compiler would ask for it. Only the table of error codes is not told by the kind: an answer shows by its shape
//! which one it means, whoever gives it, and a BSP may give either.

use std::fmt;
use std::str::FromStr;

use crate::domain::id::Wamid;

/// How a sender's messages get to WhatsApp; the column `provider` of `wa.senders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// Meta's own Cloud API.
    CloudApi,
    /// A business solution provider: somebody else's address in front of the Cloud API, such as Service4U, 360dialog or Turn.
    Bsp,
    /// The On-Premises client, run by oneself, and what has kept its interface.
    OnPremises,
}

/// What a kind of provider can, and how it is spoken to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capabilities {
    /// What a request looks like.
    pub envelope: Envelope,
    /// How a request is let in.
    pub entrance: Entrance,
    /// Whether our callback data comes back in statuses.
    pub echo: Echo,
    /// Whether its address names the version of the Graph API.
    pub has_api_version: bool,
    /// Whether marketing templates have an address of their own, `/marketing_messages`.
    pub has_marketing_messages: bool,
    /// Requests a second that a new sender is given.
    pub usual_rate: f64,
    /// Requests a second that are documented as the most, where any are.
    pub highest_rate: Option<f64>,
    /// A call that sends nothing and shows that the way and the credential are right.
    pub harmless_call: Option<HarmlessCall>,
    /// Whether its ids of messages begin with `wamid.` for certain. (Those of the On-Premises client do not: `gBEGkYiEB1VXAglK1ZEqA1YKPrU`.)
    pub says_wamid: bool,
}

/// An id of a message has so many characters behind `wamid.` at least; all that are documented have more.
const SHORTEST_ID: usize = 16;

/// What a request looks like around what the application wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// `messaging_product`, and phone numbers with their `+`.
    Cloud,
    /// No `messaging_product`, and phone numbers as digits.
    OnPremises,
}

/// How a request is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// By a token that stays the same.
    Token,
    /// By one that `user:password` is exchanged for and that ends.
    Login,
}

/// Whether callback data comes back in the statuses of its message: the one thing that proves a message whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// It does (Meta, Messages reference, `biz_opaque_callback_data`).
    Always,
    /// Some of these do. One is believed to once it has.
    WhenSeen,
    /// It does not ("Cloud API only").
    Never,
}

/// A call that sends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HarmlessCall {
    /// `GET /{version}/{sender}` of the Graph API.
    ReadNumber,
    /// `GET /v1/health` of the On-Premises client.
    Health,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::CloudApi, Self::Bsp, Self::OnPremises];

    /// What it can.
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::CloudApi => Capabilities {
                envelope: Envelope::Cloud,
                entrance: Entrance::Token,
                echo: Echo::Always,
                has_api_version: true,
                has_marketing_messages: true,
                // Meta, Throughput: 80 a second, raised by Meta to 1,000.
                usual_rate: 80.0,
                highest_rate: Some(1_000.0),
                harmless_call: Some(HarmlessCall::ReadNumber),
                says_wamid: true,
            },
            Self::Bsp => Capabilities {
                envelope: Envelope::Cloud,
                entrance: Entrance::Token,
                echo: Echo::WhenSeen,
                has_api_version: false,
                has_marketing_messages: false,
                usual_rate: 80.0,
                highest_rate: Some(1_000.0),
                harmless_call: None,
                says_wamid: false,
            },
            Self::OnPremises => Capabilities {
                envelope: Envelope::OnPremises,
                entrance: Entrance::Login,
                echo: Echo::Never,
                has_api_version: false,
                has_marketing_messages: false,
                // Meta, /v1/messages, "Performance": 70 with a single shard, 250 with 32.
                usual_rate: 70.0,
                highest_rate: Some(250.0),
                harmless_call: Some(HarmlessCall::Health),
                says_wamid: false,
            },
        }
    }

    /// The id of a message, as a person has copied it.
    ///
    /// # Errors
    /// In words, when it can be none of this kind: it has another beginning, or was masked or cut.
    pub fn copied_id(self, text: &str) -> Result<Wamid, &'static str> {
        let text = text.trim();
        let named = text.strip_prefix("wamid.");
        if named.is_none() && self.capabilities().says_wamid {
            return Err("what WhatsApp calls a message begins with wamid.");
        }
        let id = named.unwrap_or(text);
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
        if id.len() < SHORTEST_ID || !id.chars().all(is_base64) {
            return Err("that is no whole id of a message: it is masked or cut");
        }
        Ok(Wamid::from(text))
    }

    /// The names of those whose statuses bring our token back for certain.
    pub fn names_of_those_that_echo() -> Vec<String> {
        let echoes = |kind: &Self| kind.capabilities().echo == Echo::Always;
        let names = Self::ALL.into_iter().filter(echoes);
        names.map(|kind| kind.as_str().to_owned()).collect()
    }

    /// Whether requests carry our token: wherever it may come back, and where a sender's setting says that it does.
    pub fn carries_token(self, callback_echo: Option<bool>) -> bool {
        callback_echo.unwrap_or(match self.capabilities().echo {
            Echo::Always | Echo::WhenSeen => true,
            Echo::Never => false,
        })
    }

    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloudApi => "cloud_api",
            Self::Bsp => "bsp",
            Self::OnPremises => "on_premises",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no kind of provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("provider `{provider}` is unknown; use cloud_api, bsp or on_premises")]
pub struct UnknownProvider {
    /// As it was given.
    pub provider: String,
}

impl FromStr for ProviderKind {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        let named = Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        named.ok_or_else(|| UnknownProvider {
            provider: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_back_from_its_name_and_no_other_name_is_one() {
        for kind in ProviderKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        let refused = "cloud".parse::<ProviderKind>().expect_err("no kind");
        assert!(
            refused
                .to_string()
                .contains("cloud_api, bsp or on_premises")
        );
    }

    #[test]
    fn the_token_travels_where_it_may_come_back_unless_a_setting_says_otherwise() {
        let carries = |kind: ProviderKind| kind.carries_token(None);
        assert_eq!(ProviderKind::ALL.map(carries), [true, true, false]);
        for kind in ProviderKind::ALL {
            assert!(kind.carries_token(Some(true)) && !kind.carries_token(Some(false)));
        }
        assert_eq!(ProviderKind::names_of_those_that_echo(), ["cloud_api"]);
    }

    #[test]
    fn an_id_that_was_copied_is_whole_and_of_its_provider() {
        let whole = "wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA";
        let on_premises = "gBEGkYiEB1VXAglK1ZEqA1YKPrU";
        for kind in ProviderKind::ALL {
            let copied = kind.copied_id(&format!(" {whole}\n")).expect("an id");
            assert_eq!(copied.reveal(), whole);
            for cut in [
                "",
                "wamid.",
                "wamid.HBg…YA",
                "wamid.HBgLMTY1MDU1NTEy MzQVAgARGBI5",
            ] {
                assert!(kind.copied_id(cut).is_err(), "{kind} takes {cut}");
            }
        }
        assert!(ProviderKind::CloudApi.copied_id(on_premises).is_err());
        for kind in [ProviderKind::Bsp, ProviderKind::OnPremises] {
            assert_eq!(
                kind.copied_id(on_premises).expect("an id").reveal(),
                on_premises
            );
        }
    }
}
