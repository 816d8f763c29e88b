//! A business phone number: how fast it may send, and the ids it gives.
//!
//! The rate is a window of exactly one second that slides with every request: request n is refused if request
//! n − rate came less than a second before. The pair limit is a bucket (Meta, "Pair rate limits": one message in
//! six seconds to the same user, bursts of 45 are borrowed from the future).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use data_encoding::BASE64;

use super::dice::mix;

const SECOND: Duration = Duration::from_secs(1);
/// From how many recipients on buckets that are full again are forgotten.
const PAIRS_KEPT: usize = 100_000;

/// How many messages one number may send to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairLimit {
    /// Messages that may be sent at once.
    pub burst: u32,
    /// In what time one more is allowed.
    pub period: Duration,
}

impl PairLimit {
    /// Meta's documented limit: 45 at once, one in six seconds.
    pub const META: PairLimit = PairLimit {
        burst: 45,
        period: Duration::from_secs(6),
    };
}

/// Why a request is too fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooFast {
    /// For the number: 130429.
    Number,
    /// For this recipient: 131056.
    Pair,
}

/// What one number has sent of late.
#[derive(Debug, Default)]
pub(super) struct Number {
    within_a_second: VecDeque<Duration>,
    /// When each recipient's bucket will be full again.
    pairs: HashMap<String, Duration>,
}

impl Number {
    /// Lets a request pass that came at `came_at` (since the start) or says what it is too fast for; a refused one uses nothing up.
    pub(super) fn admit(
        &mut self,
        came_at: Duration,
        recipient: &str,
        rate: Option<u32>,
        pair: Option<PairLimit>,
    ) -> Result<(), TooFast> {
        // Two connections may be read in another order than they came.
        let now = self
            .within_a_second
            .back()
            .map_or(came_at, |last| came_at.max(*last));
        while self
            .within_a_second
            .front()
            .is_some_and(|first| now.saturating_sub(*first) >= SECOND)
        {
            self.within_a_second.pop_front();
        }
        if rate.is_some_and(|rate| self.within_a_second.len() >= rate as usize) {
            return Err(TooFast::Number);
        }
        if let Some(limit) = pair {
            let full_again = self
                .pairs
                .get(recipient)
                .copied()
                .unwrap_or_default()
                .max(now);
            if full_again - now > limit.period * limit.burst.saturating_sub(1) {
                return Err(TooFast::Pair);
            }
            self.forget_full_buckets(now);
            self.pairs
                .insert(recipient.to_owned(), full_again + limit.period);
        }
        if rate.is_some() {
            self.within_a_second.push_back(now);
        }
        Ok(())
    }

    fn forget_full_buckets(&mut self, now: Duration) {
        if self.pairs.len() >= PAIRS_KEPT && self.pairs.len().is_power_of_two() {
            self.pairs.retain(|_, full_again| *full_again > now);
        }
    }
}

/// Gives ids as WhatsApp does: they hold the recipient's number, and none comes twice.
#[derive(Debug)]
pub(super) struct Wamids {
    /// Not from the seed: a simulator that is started again must not repeat the ids of its last run.
    start: u64,
}

impl Wamids {
    pub(super) fn new() -> Self {
        Self {
            start: fastrand::u64(..),
        }
    }

    /// The id of the `count`-th message. The bytes are laid out as in the ids that Meta publishes.
    pub(super) fn make(&self, count: u64, recipient: &str) -> String {
        let digits = &recipient.as_bytes()[..recipient.len().min(255)];
        let unique = format!(
            "{:016X}{:02X}",
            mix(self.start.wrapping_add(count)),
            self.start as u8
        );
        let mut bytes = vec![0x1c, 0x18, digits.len() as u8];
        bytes.extend_from_slice(digits);
        bytes.extend_from_slice(&[0x15, 0x02, 0x00, 0x11, 0x18, unique.len() as u8]);
        bytes.extend_from_slice(unique.as_bytes());
        bytes.push(0);
        format!("wamid.{}", BASE64.encode(&bytes))
    }
}

/// The WhatsApp id of a phone number, given its digits. It is not always the number: Brazil's ninth digit is
/// dropped for most areas, Mexico's old mobile `1` is kept.
pub(super) fn wa_id(digits: &str) -> String {
    if let Some(national) = digits.strip_prefix("55")
        && national.len() == 11
        && &national[..2] >= "31"
        && national.as_bytes()[2] == b'9'
    {
        return format!("55{}{}", &national[..2], &national[3..]);
    }
    if let Some(national) = digits.strip_prefix("52")
        && national.len() == 10
    {
        return format!("521{national}");
    }
    digits.to_owned()
}

/// The phone number that people see for a `phone-number-id`: made up, but always the same.
pub(super) fn display_phone_number(id: &str) -> String {
    let hash = id
        .bytes()
        .fold(0_u64, |hash, byte| mix(hash ^ u64::from(byte)));
    format!("1555{:07}", hash % 10_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn no_window_of_one_second_holds_more_than_the_rate_and_a_full_one_no_less() {
        let mut number = Number::default();
        let passed: Vec<u64> = (0..5_000)
            .filter(|at| number.admit(ms(*at), "1", Some(7), None).is_ok())
            .collect();
        let most = passed.iter().map(|from| {
            passed
                .iter()
                .filter(|at| (*from..from + 1000).contains(at))
                .count()
        });
        assert_eq!(most.max(), Some(7));
        assert_eq!(passed.len(), 35);
    }

    #[test]
    fn a_request_exactly_one_second_later_passes() {
        let mut number = Number::default();
        assert_eq!(number.admit(ms(0), "1", Some(1), None), Ok(()));
        assert_eq!(
            number.admit(ms(999), "2", Some(1), None),
            Err(TooFast::Number)
        );
        assert_eq!(number.admit(ms(1000), "3", Some(1), None), Ok(()));
    }

    #[test]
    fn forty_five_go_to_one_recipient_at_once_then_one_in_six_seconds() {
        let mut number = Number::default();
        let pair = Some(PairLimit::META);
        for _ in 0..45 {
            assert_eq!(number.admit(ms(0), "1", None, pair), Ok(()));
        }
        assert_eq!(number.admit(ms(5_999), "1", None, pair), Err(TooFast::Pair));
        assert_eq!(
            number.admit(ms(5_999), "2", None, pair),
            Ok(()),
            "others are unaffected"
        );
        assert_eq!(number.admit(ms(6_000), "1", None, pair), Ok(()));
        assert_eq!(number.admit(ms(6_001), "1", None, pair), Err(TooFast::Pair));
    }

    #[test]
    fn ids_hold_the_recipient_and_never_repeat() {
        let wamids = Wamids::new();
        let mut ids: Vec<String> = (0..1_000)
            .map(|count| wamids.make(count, "16505551234"))
            .collect();
        let decoded = BASE64
            .decode(ids[0].strip_prefix("wamid.").expect("prefix").as_bytes())
            .expect("base64");
        assert!(decoded.windows(11).any(|bytes| bytes == b"16505551234"));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 1_000);
    }

    #[test]
    fn brazilian_and_mexican_numbers_get_another_whatsapp_id() {
        assert_eq!(wa_id("5531987654321"), "553187654321");
        assert_eq!(wa_id("5511987654321"), "5511987654321");
        assert_eq!(wa_id("525512345678"), "5215512345678");
        assert_eq!(wa_id("16505551234"), "16505551234");
    }
}
