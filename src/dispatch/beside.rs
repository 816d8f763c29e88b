//! Reads files beside the runtime, and waits for none that does not answer.
//!
//! A file may lie on a disk that has gone away: whoever reads it stands still, and no call to the system says how long. So it is read by a
//! thread that is nobody else's, and given up after a while. What the thread will say is kept by who asked, who asks no second time until
//! it has spoken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, timeout_at};

/// What a thread will say.
pub(crate) type Answer<T> = oneshot::Receiver<T>;

/// Whether the thread that will answer still stands still.
pub(super) fn hangs<T>(answer: &mut Answer<T>) -> bool {
    matches!(answer.try_recv(), Err(TryRecvError::Empty))
}

/// Does work beside the runtime, one after the other, and waits for it until then. Where one stands still, those behind it are left: they
/// have no answer that could still come.
pub(super) async fn on_a_thread<T, W>(
    until: Instant,
    work: Vec<W>,
) -> Vec<Result<T, Option<Answer<T>>>>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let (tells, answers): (Vec<_>, Vec<_>) = work.iter().map(|_| oneshot::channel()).unzip();
    let over = Arc::new(AtomicBool::new(Instant::now() >= until));
    let is_over = Arc::clone(&over);
    // Not a thread of the runtime's: they are few, and others wait for them.
    let started = std::thread::Builder::new().spawn(move || {
        for (one, tell) in work.into_iter().zip(tells) {
            if is_over.load(Ordering::Acquire) {
                return;
            }
            let _ = tell.send(one());
        }
    });
    let mut found = Vec::with_capacity(answers.len());
    for mut answer in answers {
        if started.is_err() || over.load(Ordering::Acquire) {
            found.push(Err(None));
            continue;
        }
        found.push(match timeout_at(until, &mut answer).await {
            Ok(Ok(found)) => Ok(found),
            // It panicked: the next look asks again.
            Ok(Err(_)) => Err(None),
            Err(_) => {
                over.store(true, Ordering::Release);
                Err(Some(answer))
            }
        });
    }
    found
}

/// The same of one piece of work.
pub(crate) async fn alone<T, W>(until: Instant, work: W) -> Result<T, Option<Answer<T>>>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let mut all = on_a_thread(until, vec![work]).await;
    all.pop().unwrap_or(Err(None))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_file_that_does_not_answer_is_waited_for_no_longer_than_agreed_nor_are_those_behind_it()
     {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let answers = || Box::new(|| "read") as Box<dyn FnOnce() -> &'static str + Send>;
        let stands_still = Box::new(move || {
            gate.recv().expect("is opened");
            "read"
        });
        let until = Instant::now() + Duration::from_millis(200);
        let mut found = on_a_thread(until, vec![answers(), stands_still, answers()]).await;
        assert!(matches!(found.pop(), Some(Err(None))));
        let Some(Err(Some(mut answer))) = found.pop() else {
            panic!("it has not answered");
        };
        assert!(matches!(found.pop(), Some(Ok("read"))));
        assert!(hangs(&mut answer));

        open.send(()).expect("it still reads");
        assert!(matches!(answer.await, Ok("read")));
    }

    #[tokio::test]
    async fn when_the_time_is_over_nothing_is_read() {
        let (reads, read) = std::sync::mpsc::channel();
        let ask = move || reads.send(()).expect("somebody listens");
        let found = on_a_thread(Instant::now(), vec![ask]).await;
        assert!(matches!(found.as_slice(), [Err(None)]));
        // The thread has let go of it.
        assert!(read.recv().is_err());
    }
}
