//! A request body that can be taken back as long as nobody has asked for it.
//!
//! The kinds of error that an HTTP library reports do not tell whether a request left: "connection closed" is
//! the same for a server that never got a byte and one that read everything. So we do not ask them. The
//! library has to ask *us* for the body, and until it has, the body can be taken back: then no byte of it was
//! ever handed to the network and none ever will be, and a message without its body cannot be accepted.
//!
//! Asking and taking back race on one atomic, by compare-and-exchange, so exactly one of them wins. A plain
//! flag would leave a gap: the connection's own task may ask between our look at the flag and our giving up,
//! and two in a million "not sent" requests were then received in full.
//!
//! The body is a stream of one frame, which cannot be cloned; that also keeps every layer below from sending
//! the request a second time by itself.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Nobody has asked for the body yet.
const UNASKED: u8 = 0;
/// It was handed over: from here on, it may have reached WhatsApp.
const HANDED_OVER: u8 = 1;
/// It was taken back before it was asked for.
const TAKEN_BACK: u8 = 2;
/// It was asked for when the time to send had passed, and refused.
const REFUSED: u8 = 3;

/// Stands between a request and the network. Asked in the middle of sending: it must be quick and must not block.
pub trait Gate: Send + Sync + Unpin + 'static {
    /// Whether the request may leave now.
    fn is_open(&self) -> bool;

    /// It leaves now: its body is handed over. Said once at most.
    fn left(&self) {}
}

impl<F> Gate for F
where
    F: Fn() -> bool + Send + Sync + Unpin + 'static,
{
    fn is_open(&self) -> bool {
        self()
    }
}

/// A request body that is handed over at most once, and only while its gate is open.
pub struct RevocableBody<G> {
    content: Option<Bytes>,
    state: Arc<AtomicU8>,
    gate: G,
}

/// Takes a [`RevocableBody`] back.
#[derive(Debug)]
pub struct Recall {
    state: Arc<AtomicU8>,
}

/// What taking a body back found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Ours again: proof that no byte of it left or ever will.
    TakenBack,
    /// It was asked for too late and refused: the same proof.
    Refused,
    /// It was handed over. Nothing is proved.
    HandedOver,
}

/// Why a body is not to be had.
#[derive(Debug)]
pub struct Withheld;

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body was taken back")
    }
}

impl std::error::Error for Withheld {}

impl<G: Gate> RevocableBody<G> {
    /// A body, and the means to take it back. The gate is asked at the very moment the body is: a connection
    /// may take seconds to open, and a machine may sleep in between.
    pub fn new(content: Bytes, gate: G) -> (Self, Recall) {
        let state = Arc::new(AtomicU8::new(UNASKED));
        let recall = Recall {
            state: Arc::clone(&state),
        };
        let body = Self {
            content: Some(content),
            state,
            gate,
        };
        (body, recall)
    }
}

impl<G> fmt::Debug for RevocableBody<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RevocableBody(…)")
    }
}

impl Recall {
    /// Takes the body back if it is still ours. To be called before the request's future is dropped: once that
    /// is gone, its connection's task may still be running.
    pub fn take_back(&self) -> Whereabouts {
        match leave(&self.state, UNASKED, TAKEN_BACK) {
            Ok(_) | Err(TAKEN_BACK) => Whereabouts::TakenBack,
            Err(REFUSED) => Whereabouts::Refused,
            Err(_) => Whereabouts::HandedOver,
        }
    }
}

impl<G: Gate> Body for RevocableBody<G> {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        if self.content.is_none() {
            return Poll::Ready(None);
        }
        let next = if self.gate.is_open() {
            HANDED_OVER
        } else {
            REFUSED
        };
        match leave(&self.state, UNASKED, next) {
            Ok(_) if next == HANDED_OVER => {
                self.gate.left();
                Poll::Ready(self.content.take().map(|content| Ok(Frame::data(content))))
            }
            Ok(_) | Err(_) => Poll::Ready(Some(Err(Withheld))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Exact, so that the request carries a content-length and a server can tell half a body from a whole.
        SizeHint::with_exact(
            self.content
                .as_ref()
                .map_or(0, |content| content.len() as u64),
        )
    }
}

fn leave(state: &AtomicU8, from: u8, to: u8) -> Result<u8, u8> {
    state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    fn ask(body: &mut RevocableBody<impl Gate>) -> Option<Bytes> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            Poll::Ready(Some(Err(Withheld)) | None) | Poll::Pending => None,
        }
    }

    fn content() -> Bytes {
        Bytes::from_static(b"{}")
    }

    #[test]
    fn a_body_taken_back_is_never_handed_over() {
        let (mut body, recall) = RevocableBody::new(content(), || true);
        assert_eq!(recall.take_back(), Whereabouts::TakenBack);
        assert_eq!(ask(&mut body), None);
        assert_eq!(recall.take_back(), Whereabouts::TakenBack);
    }

    #[test]
    fn a_body_handed_over_cannot_be_taken_back_and_is_handed_over_once() {
        let (mut body, recall) = RevocableBody::new(content(), || true);
        assert_eq!(body.size_hint().exact(), Some(2));
        assert_eq!(ask(&mut body), Some(content()));
        assert_eq!(recall.take_back(), Whereabouts::HandedOver);
        assert_eq!(ask(&mut body), None);
        assert!(body.is_end_stream());
    }

    #[test]
    fn a_body_asked_for_too_late_is_refused_for_good() {
        let (mut body, recall) = RevocableBody::new(content(), || false);
        assert_eq!(ask(&mut body), None);
        assert_eq!(recall.take_back(), Whereabouts::Refused);
        assert_eq!(ask(&mut body), None);
    }

    #[test]
    fn a_gate_is_told_of_a_body_that_leaves_and_of_no_other() {
        struct Counting(bool, Arc<AtomicU8>);
        impl Gate for Counting {
            fn is_open(&self) -> bool {
                self.0
            }

            fn left(&self) {
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
        for (open, taken_back, told) in [(true, false, 1), (true, true, 0), (false, false, 0)] {
            let count = Arc::new(AtomicU8::new(0));
            let (mut body, recall) =
                RevocableBody::new(content(), Counting(open, Arc::clone(&count)));
            if taken_back {
                recall.take_back();
            }
            ask(&mut body);
            ask(&mut body);
            assert_eq!(count.load(Ordering::SeqCst), told);
        }
    }

    #[test]
    fn asking_and_taking_back_at_once_never_both_succeed() {
        const ROUNDS: usize = 50_000;
        let all = (0..ROUNDS).map(|_| RevocableBody::new(content(), || true));
        let (mut bodies, recalls): (Vec<_>, Vec<_>) = all.unzip();
        // Both go round by round side by side, for what has to be met is a few nanoseconds wide.
        let at_the_start = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let meet = |mine: usize, round: usize| {
            at_the_start[mine].store(round + 1, Ordering::Release);
            let mut tries = 0;
            while at_the_start[1 - mine].load(Ordering::Acquire) <= round {
                tries += 1;
                match tries % 10_000 {
                    0 => thread::yield_now(),
                    _ => std::hint::spin_loop(),
                }
            }
        };
        let (asked, taken_back) = thread::scope(|scope| {
            let asker = scope.spawn(|| {
                let bodies = bodies.iter_mut().enumerate();
                let asked = bodies.map(|(round, body)| {
                    meet(0, round);
                    ask(body).is_some()
                });
                asked.collect::<Vec<_>>()
            });
            let recalls = recalls.iter().enumerate();
            let taken_back = recalls.map(|(round, recall)| {
                meet(1, round);
                recall.take_back() == Whereabouts::TakenBack
            });
            let taken_back: Vec<_> = taken_back.collect();
            (asker.join().expect("the asker does not panic"), taken_back)
        });
        assert!(
            asked
                .iter()
                .zip(taken_back)
                .all(|(asked, back)| *asked != back)
        );
    }
}
