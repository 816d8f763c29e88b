//! How often somebody may be wrong.
//!
//! Counted by address, so that whoever guesses shuts out nobody else; behind a proxy all are one address. Ten wrong tries in a
//! minute are answered, the next ones are not looked at until the minute is over, right or not: else they could go on guessing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Wrong tries that are answered.
const AT_MOST: u32 = 10;
/// Within this time from the first of them.
const WITHIN: Duration = Duration::from_secs(60);
/// Addresses that are remembered: the memory of a flood is bounded, and the oldest is forgotten first.
const REMEMBERED: usize = 1_024;

/// Remembers who was wrong.
#[derive(Debug, Default)]
pub struct Tries(Mutex<HashMap<IpAddr, Wrong>>);

#[derive(Clone, Copy, Debug)]
struct Wrong {
    times: u32,
    since: Instant,
}

impl Wrong {
    fn counts_at(&self, now: Instant) -> bool {
        now < self.since + WITHIN
    }
}

impl Tries {
    /// Whether a try of this address is looked at.
    ///
    /// # Errors
    /// How long it is not.
    pub fn may(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&network_of(from)) {
            Some(wrong) if wrong.times >= AT_MOST && wrong.counts_at(now) => {
                Err(wrong.since + WITHIN - now)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// It was wrong.
    pub fn wrong(&self, from: IpAddr, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let from = network_of(from);
        if !all.contains_key(&from) && all.len() >= REMEMBERED {
            all.retain(|_, wrong| wrong.counts_at(now));
            let oldest = all.iter().min_by_key(|(_, wrong)| wrong.since);
            if let Some(oldest) = oldest
                .map(|(from, _)| *from)
                .filter(|_| all.len() >= REMEMBERED)
            {
                all.remove(&oldest);
            }
        }
        let first = Wrong {
            times: 0,
            since: now,
        };
        let wrong = all.entry(from).or_insert(first);
        if !wrong.counts_at(now) {
            *wrong = first;
        }
        wrong.times += 1;
    }
}

/// One customer has 2^64 addresses of IPv6.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_was_wrong_ten_times_waits_until_the_minute_is_over_and_nobody_else_does() {
        let (tries, now) = (Tries::default(), Instant::now());
        let guesser = address("192.0.2.1");
        for _ in 0..AT_MOST {
            assert_eq!(tries.may(guesser, now), Ok(()));
            tries.wrong(guesser, now);
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(tries.may(guesser, later), Err(Duration::from_secs(40)));
        assert_eq!(
            tries.may(address("::ffff:192.0.2.1"), later).err(),
            Some(Duration::from_secs(40))
        );
        assert_eq!(tries.may(address("192.0.2.2"), later), Ok(()));

        let after = now + WITHIN;
        assert_eq!(tries.may(guesser, after), Ok(()));
        tries.wrong(guesser, after);
        assert_eq!(tries.may(guesser, after), Ok(()), "it counts anew");
    }

    #[test]
    fn a_network_of_version_six_is_one_address() {
        let (tries, now) = (Tries::default(), Instant::now());
        for host in 0..AT_MOST {
            tries.wrong(address(&format!("2001:db8::{host:x}")), now);
        }
        assert!(tries.may(address("2001:db8::ffff"), now).is_err());
        assert!(tries.may(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn a_flood_of_addresses_is_not_remembered_without_end() {
        let (tries, now) = (Tries::default(), Instant::now());
        for number in 0..REMEMBERED as u32 * 2 {
            let from = IpAddr::from(std::net::Ipv4Addr::from(number));
            tries.wrong(from, now + Duration::from_millis(u64::from(number)));
        }
        assert_eq!(tries.0.lock().expect("the tries").len(), REMEMBERED);
    }
}
