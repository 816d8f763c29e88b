//! Why a sender or a template must rest, and when it is tried again.
//!
//! A hold is nobody's failure: messages wait, and none of them is judged by it. What a machine held a machine may try again, with
//! one message at a time; what a person held only that person's word, or the end of the time they gave, sets free.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;

use super::id::SenderId;
use super::outcome::{HoldScope, Outcome};

/// Before the first probe of a held sender; doubled for each that follows.
pub const FIRST_PROBE_AFTER: Duration = Duration::from_secs(60);
/// No wait for a probe is longer.
pub const LONGEST_PROBE_WAIT: Duration = Duration::from_secs(30 * 60);
/// After this long a probe of which nothing was heard is given up, and another may leave. Longer than any request takes.
pub const PROBE_HEARD_WITHIN: Duration = Duration::from_secs(120);
/// After a probe that taught nothing.
pub const PROBE_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How soon a hold that a webhook made is tried. The webhook names no sender, so the hold may be a wrong guess.
pub const WEBHOOK_HOLD: Duration = Duration::from_secs(60);

/// Why a sender is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A person said so.
    Operator,
    /// The token has expired, was revoked or is missing.
    Token,
    /// The token may not do this.
    Permission,
    /// The business account or the display name.
    Account,
    /// Payment method or terms.
    Payment,
    /// The number is not registered, or not any more.
    Registration,
    /// Restricted for breaking a policy, or for too many blocks and reports.
    Policy,
    /// The number's id leads nowhere.
    Address,
    /// The database went back in time, and what it has forgotten may have been sent.
    Restore,
    /// None of these.
    Other,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Operator,
        Self::Token,
        Self::Permission,
        Self::Account,
        Self::Payment,
        Self::Registration,
        Self::Policy,
        Self::Address,
        Self::Restore,
        Self::Other,
    ];

    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Token => "token",
            Self::Permission => "permission",
            Self::Account => "account",
            Self::Payment => "payment",
            Self::Registration => "registration",
            Self::Policy => "policy",
            Self::Address => "address",
            Self::Restore => "restore",
            Self::Other => "other",
        }
    }

    /// Whether one message may be tried without a person's word. Trying costs nothing where the token is at fault; where the
    /// account, its payment or its conduct is, only a person can have changed that, and who keeps sending through a restriction
    /// is restricted further (Meta, Error codes, 131048).
    pub fn is_probed(self) -> bool {
        match self {
            Self::Token | Self::Permission => true,
            Self::Operator
            | Self::Account
            | Self::Payment
            | Self::Registration
            | Self::Policy
            | Self::Address
            | Self::Restore
            | Self::Other => false,
        }
    }

    /// What is at fault, to stand after "because".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Operator => "a person said so",
            Self::Token => "its token is not accepted",
            Self::Permission => "its token lacks a permission",
            Self::Account => "its account is not in order",
            Self::Payment => "its payment is not in order",
            Self::Registration => "its number is not registered",
            Self::Policy => "it is restricted for breaking a policy",
            Self::Address => "its number's id leads nowhere",
            Self::Restore => "the database went back",
            Self::Other => "WhatsApp refuses everything it sends",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no cause of a hold has this name")]
pub struct NoCause;

impl FromStr for Cause {
    type Err = NoCause;

    fn from_str(name: &str) -> Result<Self, NoCause> {
        Self::ALL
            .into_iter()
            .find(|cause| cause.as_str() == name)
            .ok_or(NoCause)
    }
}

/// Why an answer that holds a sender does so: by its code (Meta, Error codes; On-Premises API error and status messages), and
/// where it has none of those, by its HTTP status.
pub fn cause_of(code: Option<i64>, http_status: Option<u16>) -> Cause {
    let by_status = match http_status {
        Some(401) => Cause::Token,
        Some(403) => Cause::Permission,
        Some(404) => Cause::Address,
        Some(_) | None => Cause::Other,
    };
    code.and_then(cause_of_code).unwrap_or(by_status)
}

fn cause_of_code(code: i64) -> Option<Cause> {
    Some(match code {
        0 | 104 | 190 | 1005 | 1025 => Cause::Token,
        3 | 10 | 200..=299 | 131005 => Cause::Permission,
        131031 | 131037 | 1031 => Cause::Account,
        402 | 131042 | 131044 | 134011 => Cause::Payment,
        430 | 432 | 433 | 131045 | 133000..=133016 => Cause::Registration,
        368 | 471 | 131048 | 131064 => Cause::Policy,
        // 100 holds a sender only with subcode 33: the id is wrong, or not permitted.
        33 | 100 | 803 => Cause::Address,
        _ => return None,
    })
}

/// How long a template rests before it is tried again, by the code that it was refused with. Meta pauses one for three hours
/// the first time (Template pausing); for the others an hour is soon enough and costs one message.
pub fn template_rest(code: Option<i64>) -> Duration {
    match code {
        Some(132015) => Duration::from_secs(3 * 3_600),
        Some(_) | None => Duration::from_secs(3_600),
    }
}

/// What a probe taught of the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// The cause is gone.
    Accepted,
    /// It stands: a longer rest.
    HeldAgain,
    /// Nothing: tried again soon.
    Nothing,
}

/// What the outcome of a probe says of a hold of this scope. Only an acceptance proves that the cause is gone: which of several
/// faults is told first is not fixed at WhatsApp, so a verdict about the message, or an order to slow down, may stand before it.
pub fn probed(outcome: &Outcome, held: HoldScope) -> Probed {
    match outcome {
        Outcome::Accepted(_) => Probed::Accepted,
        Outcome::Held { scope, .. } if *scope == held => Probed::HeldAgain,
        Outcome::Held { .. }
        | Outcome::Rejected(_)
        | Outcome::NotSent(_)
        | Outcome::Throttled { .. }
        | Outcome::Transient { .. }
        | Outcome::Uncertain(_) => Probed::Nothing,
    }
}

/// Tells one token from another without keeping either.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// As the database keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// The key that fingerprints are made with: that of the database, which all processes on it share, so that they agree.
#[derive(Clone)]
pub struct FingerprintKey(hmac::Key);

impl FingerprintKey {
    /// From the key of the callback token.
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The fingerprint of a token: the first 96 bits of an HMAC-SHA256.
    pub fn fingerprint(&self, token: &str) -> Fingerprint {
        // The words in front keep it apart from the callback token, which is made with the same key.
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"fingerprint of an access token: ");
        context.update(token.as_bytes());
        Fingerprint(BASE64URL_NOPAD.encode(&context.sign().as_ref()[..12]))
    }
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey(…)")
    }
}

/// A template as a message names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TemplateKey {
    /// Its name.
    pub name: String,
    /// Its language with an underscore, such as `en_US`.
    pub language: Option<String>,
}

impl TemplateKey {
    /// From a payload or a webhook; Meta writes languages with `_` and with `-`.
    pub fn new(name: impl Into<String>, language: Option<&str>) -> Self {
        Self {
            name: name.into(),
            language: language.map(|language| language.replace('-', "_")),
        }
    }

    /// Whether a hold of it can be written down (`a_template_has_a_name`, `a_language_has_a_code`). What cannot is no template of
    /// WhatsApp's.
    pub fn can_be_held(&self) -> bool {
        let fits =
            |text: &str, most| (1..=most).contains(&text.chars().count()) && !text.contains('\0');
        fits(&self.name, 512) && self.language.as_deref().is_none_or(|code| fits(code, 64))
    }
}

/// So many messages in a row that do not fit their template are no longer each one's own mistake.
const MISMATCHES: usize = 5;
/// Within this time.
const MISMATCHES_WITHIN: Duration = Duration::from_secs(60);
/// Beyond so many templates, those are forgotten whose last mismatch is over.
const MANY: usize = 1_000;

/// Counts messages in a row whose parameters do not fit their template (132000, 132012). Each of them failed for good, so the
/// template is held before it costs a whole campaign.
#[derive(Debug, Default)]
pub struct Mismatches(HashMap<(SenderId, TemplateKey), VecDeque<Instant>>);

impl Mismatches {
    /// One more. `true`: the template is to be held, and counting starts again.
    pub fn note_mismatch(
        &mut self,
        sender: &SenderId,
        template: &TemplateKey,
        now: Instant,
    ) -> bool {
        let is_over = |at: &Instant| now.saturating_duration_since(*at) > MISMATCHES_WITHIN;
        if self.0.len() > MANY {
            self.0
                .retain(|_, times| times.back().is_some_and(|last| !is_over(last)));
        }
        let key = (sender.clone(), template.clone());
        let times = self.0.entry(key.clone()).or_default();
        while times.front().is_some_and(is_over) {
            times.pop_front();
        }
        times.push_back(now);
        let held = times.len() >= MISMATCHES;
        if held {
            self.0.remove(&key);
        }
        held
    }

    /// One that fitted: the row is broken.
    pub fn note_success(&mut self, sender: &SenderId, template: &TemplateKey) {
        if !self.0.is_empty() {
            self.0.remove(&(sender.clone(), template.clone()));
        }
    }

    /// Whether anything is counted at all: where not, no success needs to be told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Acceptance, ApiError, Doubt, LostAnswer, NotSent, ThrottleScope};
    use super::*;

    #[test]
    fn the_cause_follows_from_the_code_and_else_from_the_http_status() {
        for (code, cause) in [
            (0, Cause::Token),
            (190, Cause::Token),
            (10, Cause::Permission),
            (294, Cause::Permission),
            (131042, Cause::Payment),
            (133010, Cause::Registration),
            (368, Cause::Policy),
            (131031, Cause::Account),
            (100, Cause::Address),
        ] {
            assert_eq!(cause_of(Some(code), Some(400)), cause, "{code}");
        }
        assert_eq!(cause_of(Some(987_654), Some(401)), Cause::Token);
        assert_eq!(cause_of(None, Some(403)), Cause::Permission);
        assert_eq!(cause_of(None, Some(404)), Cause::Address);
        assert_eq!(cause_of(None, Some(418)), Cause::Other);
    }

    #[test]
    fn a_cause_is_read_back_from_its_name() {
        for cause in Cause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
        }
        assert_eq!("weather".parse::<Cause>(), Err(NoCause));
    }

    #[test]
    fn only_what_a_new_token_may_mend_is_tried_by_itself() {
        let probed: Vec<_> = Cause::ALL
            .into_iter()
            .filter(|one| one.is_probed())
            .collect();
        assert_eq!(probed, [Cause::Token, Cause::Permission]);
    }

    #[test]
    fn a_paused_template_rests_three_hours_and_any_other_one() {
        assert_eq!(template_rest(Some(132015)), Duration::from_secs(10_800));
        assert_eq!(template_rest(Some(132001)), Duration::from_secs(3_600));
        assert_eq!(template_rest(None), Duration::from_secs(3_600));
    }

    #[test]
    fn only_an_acceptance_ends_a_hold_and_only_the_same_refusal_prolongs_it() {
        let error = ApiError::default;
        let held = |scope| Outcome::Held {
            scope,
            error: error(),
        };
        let sender = |outcome: &Outcome| probed(outcome, HoldScope::Sender);
        assert_eq!(
            sender(&Outcome::Accepted(Acceptance::default())),
            Probed::Accepted
        );
        assert_eq!(sender(&held(HoldScope::Sender)), Probed::HeldAgain);
        assert_eq!(
            probed(&held(HoldScope::Template), HoldScope::Template),
            Probed::HeldAgain
        );
        for outcome in [
            held(HoldScope::Template),
            Outcome::Rejected(error()),
            Outcome::NotSent(NotSent::NoConnection),
            Outcome::Throttled {
                scope: ThrottleScope::Sender,
                retry_after: None,
                error: error(),
            },
            Outcome::Transient {
                at_least: Duration::ZERO,
                error: error(),
            },
            Outcome::Uncertain(Doubt::AnswerLost(LostAnswer::TimedOut)),
        ] {
            assert_eq!(sender(&outcome), Probed::Nothing, "{outcome:?}");
        }
    }

    #[test]
    fn a_fingerprint_tells_tokens_apart_and_holds_nothing_of_them() {
        let key = FingerprintKey::from_bytes(&[7; 32]);
        let one = key.fingerprint("EAAB-one");
        assert_eq!(one, key.fingerprint("EAAB-one"));
        assert_ne!(one, key.fingerprint("EAAB-two"));
        assert_ne!(
            one,
            FingerprintKey::from_bytes(&[8; 32]).fingerprint("EAAB-one")
        );
        assert_eq!(one.as_str().len(), 16);
        assert!(!format!("{one:?} {key:?}").contains(one.as_str()));
    }

    #[test]
    fn a_language_is_the_same_with_a_hyphen() {
        assert_eq!(
            TemplateKey::new("promo", Some("en-US")),
            TemplateKey::new("promo", Some("en_US"))
        );
    }

    /// Which of these mismatches, in seconds since the first, hold the template.
    fn holds(seconds: &[u64]) -> Vec<u64> {
        let (mut mismatches, start) = (Mismatches::default(), Instant::now());
        let (sender, template) = (SenderId::from("1"), TemplateKey::new("promo", None));
        let mut held = Vec::new();
        for at in seconds {
            let now = start + Duration::from_secs(*at);
            if mismatches.note_mismatch(&sender, &template, now) {
                held.push(*at);
            }
        }
        held
    }

    #[test]
    fn five_mismatches_in_a_minute_hold_a_template_and_four_do_not() {
        const NEVER: [u64; 0] = [];
        assert_eq!(holds(&[0, 1, 2, 3]), NEVER);
        assert_eq!(holds(&[0, 1, 2, 3, 60]), [60]);
        assert_eq!(holds(&[0, 1, 2, 3, 61]), NEVER);
        assert_eq!(holds(&[0, 10, 20, 30, 61, 62, 63]), [62]);
        assert_eq!(holds(&[0, 0, 0, 0, 0, 1, 1, 1, 1, 1]), [0, 1]);
    }

    #[test]
    fn a_success_breaks_the_row_of_its_own_template_only() {
        let (mut mismatches, now) = (Mismatches::default(), Instant::now());
        let sender = SenderId::from("1");
        let (promo, other) = (
            TemplateKey::new("promo", Some("en_US")),
            TemplateKey::new("promo", Some("de")),
        );
        for _ in 0..4 {
            assert!(!mismatches.note_mismatch(&sender, &promo, now));
        }
        mismatches.note_success(&sender, &other);
        assert!(mismatches.note_mismatch(&sender, &promo, now));
        for _ in 0..4 {
            assert!(!mismatches.note_mismatch(&sender, &promo, now));
        }
        mismatches.note_success(&sender, &promo);
        assert!(mismatches.is_empty());
        assert!(!mismatches.note_mismatch(&sender, &promo, now));
    }

    #[test]
    fn a_template_can_be_held_whatever_is_written_as_its_language_if_it_is_not_too_long() {
        let can_be_held = |name: &str, language| TemplateKey::new(name, language).can_be_held();
        for language in [
            None,
            Some("en_US"),
            Some("pt BR"),
            Some("pt.BR"),
            Some("p\u{e9}"),
        ] {
            assert!(can_be_held("promo", language), "{language:?}");
        }
        let long = "x".repeat(65);
        for language in [Some(""), Some("\0"), Some(long.as_str())] {
            assert!(!can_be_held("promo", language), "{language:?}");
        }
        assert!(!can_be_held("", None));
        assert!(can_be_held(&"x".repeat(512), None));
        assert!(!can_be_held(&"x".repeat(513), None));
    }
}
