//! Waiting, for callers that may block their thread and for those that may not.

use std::cell::Cell;
#[cfg(not(target_arch = "wasm32"))]
use std::time::{Duration, Instant};

thread_local! {
    /// Whether the caller of what is being polled on this thread waits for it with the whole thread.
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Says whether waiting may block this thread.
pub(crate) fn may_block() -> bool {
    MAY_BLOCK.get()
}

/// Runs a future to its end on this thread, which it may block.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }
    let _restore = Restore(MAY_BLOCK.replace(true));
    pollster::block_on(future)
}

/// Runs a function that takes its time, on a thread of its own where this one may not be blocked.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) async fn apart<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    use parking_lot::Mutex;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Arc;
    if may_block() {
        return run();
    }
    let (sender, receiver) = futures::channel::oneshot::channel();
    // Where no thread is to be had, it is still here.
    let run = Arc::new(Mutex::new(Some(run)));
    let take = |run: &Mutex<Option<_>>| run.lock().take().expect("one thread runs it");
    let theirs = Arc::clone(&run);
    let thread = std::thread::Builder::new().name("bptt".into());
    let work = move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| block_on(async { take(&theirs)() })));
        sender.send(outcome).ok();
    };
    if thread.spawn(work).is_err() {
        return take(&run)();
    }
    let outcome = receiver.await.expect("the thread sends what it has");
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Lets other tasks of an executor run, now and then.
#[derive(Debug)]
pub(crate) struct Breaths {
    #[cfg(not(target_arch = "wasm32"))]
    last: Instant,
}

#[cfg(not(target_arch = "wasm32"))]
impl Breaths {
    /// Far above what a break costs, and short for somebody who waits.
    const APART: Duration = Duration::from_millis(1);

    pub(crate) fn new() -> Self {
        Self {
            last: Instant::now(),
        }
    }

    /// A break, where the last was long ago and the caller waits with more than this. It is woken from elsewhere: an executor may let what
    /// wakes itself run many times before it looks at its clocks.
    pub(crate) async fn take(&mut self) {
        if !may_block() && self.last.elapsed() > Self::APART {
            apart(|| ()).await;
            self.last = Instant::now();
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl Breaths {
    pub(crate) fn new() -> Self {
        Self {}
    }

    pub(crate) async fn take(&mut self) {}
}
