//! Chance that can be had again: a number that depends on nothing but a seed, a name and a count.

use std::time::Duration;

/// A number in 0..1 that depends on nothing but its arguments.
pub(super) fn dice(seed: u64, key: &str, count: u64) -> f64 {
    let bits = mix(hash(seed, key) ^ mix(count)) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// `base`, and up to `jitter` more as the dice fall.
pub(super) fn stretch(base: Duration, jitter: Duration, cast: f64) -> Duration {
    base + jitter.mul_f64(cast)
}

/// FNV-1a over the key, started from the seed.
pub(super) fn hash(seed: u64, key: &str) -> u64 {
    key.bytes()
        .fold(mix(seed) ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// A bijection that leaves no pattern of its argument: the finaliser of splitmix64.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
