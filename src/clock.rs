//! The one place that asks the time.
//!
//! Two clocks, for two questions. *When was it?* is answered by the wall clock, which people read and which may
//! jump. *How long has it been?* is answered by a clock that never jumps back and that goes on counting while the
//! machine is suspended: a virtual machine that slept for a minute must find its lease expired, and a process that
//! was frozen between its intent and its first byte must find its deadline passed.
//!
//! Everything else takes `now` as a parameter or holds a [`Clock`]; a test gives it one whose hands it moves.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

/// Tells the time. Cheap to clone; all clones tell the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Movable(Arc<Mutex<Moment>>),
}

#[derive(Clone, Copy)]
struct Moment {
    wall: OffsetDateTime,
    boot: BootInstant,
}

impl Clock {
    /// The machine's own clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `start` until its [`Hands`] are moved.
    pub fn movable(start: OffsetDateTime) -> (Self, Hands) {
        let moment = Arc::new(Mutex::new(Moment {
            wall: start,
            boot: BootInstant(Duration::from_secs(1_000)),
        }));
        (Self(Source::Movable(Arc::clone(&moment))), Hands(moment))
    }

    /// The wall clock, in UTC. It may jump, forwards and back: for what people read, never for a deadline.
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            Source::System => wall(),
            Source::Movable(moment) => read(moment).wall,
        }
    }

    /// The time since this machine was started, suspension included. Never goes back.
    pub fn boot(&self) -> BootInstant {
        match &self.0 {
            Source::System => since_boot(),
            Source::Movable(moment) => read(moment).boot,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock(system)",
            Source::Movable(_) => "Clock(movable)",
        })
    }
}

/// Moves a movable clock. Who does not hold the hands cannot change the time.
#[derive(Clone)]
pub struct Hands(Arc<Mutex<Moment>>);

impl Hands {
    /// Lets time pass: both clocks go on by `by`.
    pub fn advance(&self, by: Duration) {
        let mut moment = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moment.wall = moment.wall.saturating_add(signed(by));
        moment.boot = moment.boot + by;
    }

    /// Sets the wall clock, as an operator or a time service does; the time since boot stays as it is.
    pub fn set_wall(&self, to: OffsetDateTime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = to;
    }
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hands")
    }
}

/// A moment, as the time since this machine was started. Only comparable within one machine and one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootInstant(pub Duration);

impl BootInstant {
    /// The time from here until `later`; zero if that has passed.
    pub fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }

    /// Whether, at this moment, `deadline` has been reached.
    pub fn has_reached(self, deadline: Self) -> bool {
        self >= deadline
    }
}

/// Later by a span; at the end of time it stays there.
impl Add<Duration> for BootInstant {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// Earlier by a span; no earlier than the start of the machine.
impl Sub<Duration> for BootInstant {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

/// The span since an earlier moment; zero if that moment is later.
impl Sub for BootInstant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        earlier.until(self)
    }
}

/// What another machine's clock said. Its time goes on by our time since boot, so what our own wall clock says does not matter.
#[derive(Clone, Copy, Debug)]
pub struct TimeTold {
    said: OffsetDateTime,
    at: BootInstant,
}

impl TimeTold {
    /// It was asked at one moment and answered by another: in between it said this.
    pub fn new(said: OffsetDateTime, asked_at: BootInstant, answered_at: BootInstant) -> Self {
        Self {
            said,
            at: asked_at + (answered_at - asked_at) / 2,
        }
    }

    /// What it says at `now`.
    pub fn at(&self, now: BootInstant) -> OffsetDateTime {
        self.said.saturating_add(signed(now - self.at))
    }
}

fn read(moment: &Mutex<Moment>) -> Moment {
    *moment.lock().unwrap_or_else(PoisonError::into_inner)
}

fn signed(span: Duration) -> time::Duration {
    time::Duration::try_from(span).unwrap_or(time::Duration::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that asks the time"
)]
fn wall() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn since_boot() -> BootInstant {
    // CLOCK_MONOTONIC stops while Linux is suspended; CLOCK_BOOTTIME does not (clock_gettime(2)).
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;

    let since = rustix::time::clock_gettime(id);
    let seconds = u64::try_from(since.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(since.tv_nsec).unwrap_or(0);
    BootInstant(Duration::new(seconds, nanoseconds))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const START: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    #[test]
    fn a_movable_clock_moves_only_by_its_hands_and_for_all_its_clones() {
        let (clock, hands) = Clock::movable(START);
        let clone = clock.clone();
        let before = clock.boot();

        hands.advance(Duration::from_secs(90));

        assert_eq!(clone.now(), START + time::Duration::seconds(90));
        assert_eq!(clone.boot() - before, Duration::from_secs(90));
    }

    #[test]
    fn setting_the_wall_clock_back_changes_no_deadline() {
        let (clock, hands) = Clock::movable(START);
        let deadline = clock.boot() + Duration::from_secs(10);

        hands.set_wall(START - time::Duration::days(1));
        hands.advance(Duration::from_secs(10));

        assert!(clock.now() < START);
        assert!(clock.boot().has_reached(deadline));
    }

    #[test]
    fn the_time_that_another_clock_told_goes_on_whatever_ours_is_set_to() {
        let (clock, hands) = Clock::movable(START);
        let asked_at = clock.boot();
        hands.advance(Duration::from_secs(2));
        let said = START - time::Duration::minutes(10);
        let told = TimeTold::new(said, asked_at, clock.boot());

        hands.set_wall(START + time::Duration::days(1));
        hands.advance(Duration::from_secs(9));

        assert_eq!(told.at(clock.boot()), said + time::Duration::seconds(10));
    }

    #[test]
    fn the_machine_s_clock_does_not_go_back() {
        let clock = Clock::system();
        let earlier = clock.boot();
        assert!(earlier.0 > Duration::ZERO);
        assert!(clock.boot() >= earlier);
        assert!(clock.now() > datetime!(2024-01-01 00:00 UTC));
    }

    #[test]
    fn arithmetic_at_the_ends_of_time_does_not_panic() {
        let (first, last) = (BootInstant(Duration::ZERO), BootInstant(Duration::MAX));
        assert_eq!(last + Duration::MAX, last);
        assert_eq!(first - Duration::MAX, first);
        assert_eq!(first - last, Duration::ZERO);
        assert_eq!(first.until(last), Duration::MAX);

        let (clock, hands) = Clock::movable(START);
        hands.advance(Duration::MAX);
        assert!(clock.now() > START);
    }
}
