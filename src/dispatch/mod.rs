//! From queued to settled.
//!
//! The life of a message here:
//! 1. [`ownership`] holds the senders this worker may send for, and for how long that can be trusted.
//! 2. [`dispatcher`] reads due messages ahead into one [`desk`] a sender, where they are still `queued`.
//! 3. What may leave within the next moment, as far as limits and holds go, is begun in one statement for all senders: the durable
//!    intent.
//! 4. Each that is begun leaves when fewer requests are out than its sender may have, and its rate gives the permit.
//! 5. [`sending`] makes the request, once, and finds out what became of it.
//! 6. [`recorder`] writes outcomes, many at a time; an answer is written whoever holds the sender by now.
//! 7. [`reconciler`] settles what stayed uncertain, and sweeps what a dead worker left behind.

mod aftermath;
mod beginning;
pub(crate) mod beside;
pub mod breaker;
pub mod campaign;
pub mod campaign_work;
pub mod checking;
pub mod departures;
pub mod desk;
pub mod dispatcher;
mod given_up;
mod holds;
mod lanes;
pub mod media;
pub mod ownership;
mod places;
mod reaching;
mod reading;
pub mod reconciler;
pub mod recorder;
pub mod resting;
mod scouting;
pub mod sending;
pub mod signals;
mod telling;
pub mod wake;
