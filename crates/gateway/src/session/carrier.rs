//! What carries between an end's queues and its wire, run along with the session's actor as one task.
//!
//! As tasks of their own they would wake each other for each piece of data, often on another thread, and that costs more
//! than the piece. Here a wake-up of any of them is a poll of all, until none of them has more to do.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{future::BoxFuture, task::AtomicWaker};

/// Rounds of one poll, after which the thread looks at other tasks first.
const ROUNDS: usize = 16;

/// It ends when its end's queues are dropped, or its wire is gone. Dropped before that it goes on by itself, so that it
/// can say goodbye on the wire.
#[derive(Default)]
pub struct Carrier(Option<BoxFuture<'static, ()>>);

impl Carrier {
    pub fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }

    /// Lets it run as a task of its own, for whoever uses an end without a session.
    pub fn detach(&mut self) {
        drop(std::mem::take(self));
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(work) = &mut self.0
            && work.as_mut().poll(context).is_ready()
        {
            self.0 = None;
        }
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Carrier({})", if self.0.is_some() { "carries" } else { "done" })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // Without a runtime nothing is carried any more.
        if let (Some(work), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// Whether something has to be polled again.
struct Bell {
    rung: AtomicBool,
    /// A poll is under way, and looks at `rung` before it returns.
    polling: AtomicBool,
    outside: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, SeqCst);
        if !self.polling.load(SeqCst) {
            self.outside.wake();
        }
    }
}

/// Runs `main` with the carriers of its ends. What they still have to do when it is over they do by themselves.
pub(super) async fn along<T>(main: impl Future<Output = T>, mut carriers: [Carrier; 2]) -> T {
    let mut main = std::pin::pin!(main);
    let bell = Arc::new(Bell {
        rung: AtomicBool::new(false),
        polling: AtomicBool::new(false),
        outside: AtomicWaker::new(),
    });
    let waker = Waker::from(Arc::clone(&bell));
    poll_fn(move |outside| {
        bell.outside.register(outside.waker());
        bell.polling.store(true, SeqCst);
        let context = &mut Context::from_waker(&waker);
        for _ in 0..ROUNDS {
            bell.rung.store(false, SeqCst);
            for carrier in &mut carriers {
                carrier.poll(context);
            }
            if let Poll::Ready(value) = main.as_mut().poll(context) {
                return Poll::Ready(value);
            }
            if !bell.rung.load(SeqCst) || !tokio::task::coop::has_budget_remaining() {
                break;
            }
        }
        bell.polling.store(false, SeqCst);
        if bell.rung.load(SeqCst) {
            outside.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn all_that_is_carried_arrives_and_what_is_left_is_finished() {
        let (to, mut from) = mpsc::channel::<u32>(2);
        let (back, mut returned) = mpsc::channel::<u32>(2);
        let (done, over) = tokio::sync::oneshot::channel();
        let first = Carrier::new(async move {
            for number in 0..1000 {
                to.send(number).await.unwrap();
            }
        });
        let second = Carrier::new(async move {
            let mut sum = 0;
            while let Some(number) = returned.recv().await {
                sum += number;
            }
            done.send(sum).unwrap();
        });
        let count = along(
            async move {
                let mut count = 0;
                while let Some(number) = from.recv().await {
                    back.send(number).await.unwrap();
                    count += 1;
                }
                count
            },
            [first, second],
        );
        assert_eq!(count.await, 1000);
        assert_eq!(over.await.unwrap(), 499_500);
    }

    #[tokio::test]
    async fn who_is_woken_from_another_thread_is_polled() {
        let (to, mut from) = mpsc::channel::<u32>(1);
        let (heard, mut hear) = mpsc::channel::<u32>(1);
        let carrier = Carrier::new(async move {
            while let Some(number) = from.recv().await {
                heard.send(number).await.unwrap();
            }
        });
        let work = along(
            async move {
                let mut last = 0;
                while let Some(number) = hear.recv().await {
                    last = number;
                }
                last
            },
            [carrier, Carrier::default()],
        );
        let work = tokio::spawn(work);
        let sending = std::thread::spawn(move || {
            for number in 1..=10_000 {
                to.blocking_send(number).unwrap();
            }
        });
        assert_eq!(work.await.unwrap(), 10_000);
        sending.join().unwrap();
    }

    #[tokio::test]
    async fn a_carrier_that_nobody_runs_runs_by_itself() {
        let (done, over) = tokio::sync::oneshot::channel();
        drop(Carrier::new(async move { done.send(()).unwrap() }));
        over.await.unwrap();
    }
}
