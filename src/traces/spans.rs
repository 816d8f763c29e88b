//! Writes what is over as spans.

use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{AppliedStory, AttemptStory, ReceivedStory, Trace};

/// A delivery may hold a thousand statuses; no more attempts are linked from it.
pub(super) const LINKS_AT_MOST: usize = 32;

/// Where the span of an applied delivery stands in its trace, after those of its receiver.
const APPLY: u64 = 8;

/// Tells what a moment was on the wall's clock.
#[derive(Clone, Copy)]
pub(super) struct Wall {
    pub(super) instant: Instant,
    pub(super) time: OffsetDateTime,
}

impl Wall {
    fn at(self, moment: Instant) -> SystemTime {
        (self.time - self.instant.saturating_duration_since(moment)).into()
    }
}

impl Trace {
    /// Its spans, the first of them the one that the others are part of.
    pub(super) fn spans(self, wall: Wall, into: &mut Vec<SpanData>) {
        match self {
            Self::Attempt(story) => story.spans(wall, into),
            Self::Received(story) => story.spans(wall, into),
            Self::Applied(story) => into.push(story.span(wall)),
        }
    }
}

impl AttemptStory {
    fn spans(&self, wall: Wall, into: &mut Vec<SpanData>) {
        let whole = self.ids.context();
        let about = || {
            vec![
                KeyValue::new("sender.id", self.sender.as_str().to_owned()),
                KeyValue::new("message.id", self.message.0),
            ]
        };
        let mut first = span(
            "attempt",
            whole.clone(),
            None,
            (self.since, self.recorded),
            wall,
        );
        first.attributes = about();
        let attributes = &mut first.attributes;
        attributes.push(KeyValue::new("message.attempt", i64::from(self.attempt.0)));
        attributes.push(KeyValue::new("outcome", self.outcome));
        attributes.extend(self.code.map(|code| KeyValue::new("error.code", code)));
        if !self.is_accepted {
            first.status = Status::error(self.outcome);
        }
        into.push(first);
        let left = self.left.unwrap_or(self.ended);
        let parts = [
            ("begin", self.since, self.begun),
            ("wait for permit", self.begun, self.permitted),
            ("connect", self.permitted, left),
            ("record", self.ended, self.recorded),
        ];
        for (place, (name, from, to)) in (1..).zip(parts) {
            let context = self.ids.context_of(place);
            into.push(span(name, context, Some(&whole), (from, to), wall));
        }
        if let Some(left) = self.left {
            let context = self.ids.context_of(parts.len() as u64 + 1);
            let mut request = span("request", context, Some(&whole), (left, self.ended), wall);
            request.span_kind = SpanKind::Client;
            request.attributes = about();
            let status = self.http_status.map(i64::from);
            request
                .attributes
                .extend(status.map(|status| KeyValue::new("http.response.status_code", status)));
            if !self.is_accepted {
                request.status = Status::error(self.outcome);
            }
            into.push(request);
        }
    }
}

impl ReceivedStory {
    fn spans(&self, wall: Wall, into: &mut Vec<SpanData>) {
        let (whole, times) = (self.ids.context(), &self.times);
        let all = (times.since, times.answered);
        let mut first = span("receive webhook", whole.clone(), None, all, wall);
        first.span_kind = SpanKind::Server;
        let status = if times.stored { 200 } else { 503 };
        first.attributes = vec![
            KeyValue::new("http.response.status_code", status),
            KeyValue::new("http.request.body.size", self.bytes as i64),
        ];
        if !times.stored {
            first.status = Status::error("not stored");
        }
        into.push(first);
        let parts = [
            ("read and prove", times.since, times.proved),
            ("store", times.proved, times.answered),
        ];
        for (place, (name, from, to)) in (1..).zip(parts) {
            let context = self.ids.context_of(place);
            into.push(span(name, context, Some(&whole), (from, to), wall));
        }
    }
}

impl AppliedStory {
    fn span(self, wall: Wall) -> SpanData {
        let (delivery, times) = (self.delivery, (self.taken, self.applied));
        let (receiver, own) = (delivery.ids.context(), delivery.ids.context_of(APPLY));
        let mut span = span("apply webhook", own, Some(&receiver), times, wall);
        // Received by another process, perhaps.
        span.parent_span_is_remote = true;
        span.span_kind = SpanKind::Consumer;
        let taken: OffsetDateTime = wall.at(self.taken).into();
        let waited = taken - delivery.received_at;
        span.attributes = vec![
            KeyValue::new("webhook.statuses", delivery.statuses as i64),
            KeyValue::new("webhook.waited_ms", waited.whole_milliseconds() as i64),
        ];
        let links = delivery.attempts.iter();
        span.links.links = links
            .map(|attempt| Link::new(attempt.context(), Vec::new(), 0))
            .collect();
        span
    }
}

fn span(
    name: &'static str,
    context: SpanContext,
    parent: Option<&SpanContext>,
    (from, to): (Instant, Instant),
    wall: Wall,
) -> SpanData {
    SpanData {
        span_context: context,
        parent_span_id: parent.map_or(SpanId::INVALID, SpanContext::span_id),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: wall.at(from),
        end_time: wall.at(to),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("wa-outbox").build(),
    }
}
