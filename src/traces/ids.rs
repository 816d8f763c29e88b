//! Ids that are made from what a trace is about.

use std::fmt;

use aws_lc_rs::hmac;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::domain::id::{AttemptNumber, MessageId};

/// The key that ids are made with: that of the database, which all processes on it share, so that they agree.
#[derive(Clone)]
pub struct TraceKey(hmac::Key);

impl TraceKey {
    /// From the key of the callback token.
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }
}

impl fmt::Debug for TraceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceKey(…)")
    }
}

/// Makes ids.
pub(super) struct TraceIds(TraceKey);

/// The id of a trace and of its first span, and what the ids of its further spans are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    trace: u128,
    span: u64,
}

impl TraceIds {
    pub(super) fn new(key: TraceKey) -> Self {
        Self(key)
    }

    pub(super) fn of_attempt(&self, message: MessageId, attempt: AttemptNumber) -> Ids {
        let (message, attempt) = (message.0.to_be_bytes(), attempt.0.to_be_bytes());
        self.of([b"trace of an attempt: ".as_slice(), &message, &attempt])
    }

    /// A delivery that WhatsApp repeats is the same one.
    pub(super) fn of_delivery(&self, body: &[u8]) -> Ids {
        self.of([b"trace of a delivery: ".as_slice(), body, &[]])
    }

    fn of(&self, parts: [&[u8]; 3]) -> Ids {
        // The words in front keep it apart from the callback token, which is made with the same key.
        let mut context = hmac::Context::with_key(&self.0.0);
        parts.into_iter().for_each(|part| context.update(part));
        let tag = context.sign();
        let (trace, rest) = tag.as_ref().split_at(16);
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0u128, |so_far, byte| so_far << 8 | u128::from(*byte))
        };
        Ids {
            // Zero is no id.
            trace: number(trace).max(1),
            span: (number(&rest[..8]) as u64).max(1),
        }
    }
}

impl Ids {
    /// Whether they are of the share that is told: decided as OpenTelemetry's own sampler by ratio does, so that others that see the
    /// trace decide alike.
    pub(super) fn are_sampled(&self, ratio: f64) -> bool {
        let share = (ratio.clamp(0.0, 1.0) * (1u64 << 63) as f64) as u64;
        ((self.trace as u64) >> 1) < share
    }

    /// Of the first span.
    pub(super) fn context(&self) -> SpanContext {
        self.context_of(0)
    }

    /// Of a further span of the trace; `place` tells them apart.
    pub(super) fn context_of(&self, place: u64) -> SpanContext {
        // An odd factor, so no two places meet.
        let span = self.span ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        SpanContext::new(
            TraceId::from(self.trace),
            SpanId::from(span.max(1)),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> TraceIds {
        TraceIds::new(TraceKey::from_bytes(&[7; 32]))
    }

    #[test]
    fn every_process_gives_an_attempt_the_same_id_and_no_other_has_it() {
        let of = |message, attempt| ids().of_attempt(MessageId(message), AttemptNumber(attempt));
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(1, 2));
        assert_ne!(of(1, 1), of(2, 1));
        let elsewhere = TraceIds::new(TraceKey::from_bytes(&[8; 32]));
        assert_ne!(
            of(1, 1),
            elsewhere.of_attempt(MessageId(1), AttemptNumber(1))
        );
    }

    #[test]
    fn the_spans_of_a_trace_have_ids_of_their_own() {
        let ids = ids().of_delivery(b"{}");
        let spans: std::collections::BTreeSet<_> = (0..10)
            .map(|place| ids.context_of(place).span_id().to_string())
            .collect();
        assert_eq!(spans.len(), 10);
        assert!(ids.context().is_valid());
    }

    #[test]
    fn a_tenth_is_about_one_in_ten() {
        let ids = ids();
        let told = |ratio| {
            (0..2_000)
                .filter(|id| {
                    ids.of_attempt(MessageId(*id), AttemptNumber(1))
                        .are_sampled(ratio)
                })
                .count()
        };
        assert_eq!((told(0.0), told(1.0)), (0, 2_000));
        assert!((150..250).contains(&told(0.1)), "{}", told(0.1));
    }
}
