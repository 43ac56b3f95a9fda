//! Work shared among threads.
//!
//! The pool is the crate's own. Its threads run pieces of work that wait for nothing, and a caller waits only for pieces
//! that they have begun. So no thread waits for a lock that it holds itself further down its stack, as it may where a
//! waiting thread takes up a stranger's job: callers may hold tensors locked, and be threads of any pool.

use crate::trusted::{self, Loan};
use parking_lot::{Condvar, Mutex};
use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Floating-point operations below which handing work to another thread costs more than it saves.
const WORTH_A_THREAD: usize = 1 << 20;

/// The most threads.
const MOST: usize = 1 << 8;

/// How often an idle thread looks for work before it sleeps: about as long as waking it takes.
const LOOKS: usize = 1 << 6;

/// Work that waits for a thread, and the threads.
struct Pool {
    state: Mutex<State>,
    woken: Condvar,
    /// How much work waits, for threads that look for it.
    waiting: AtomicUsize,
}

struct State {
    waiting: VecDeque<Arc<Loan>>,
    threads: usize,
    idle: usize,
}

static POOL: Pool = Pool {
    state: Mutex::new(State {
        waiting: VecDeque::new(),
        threads: 0,
        idle: 0,
    }),
    woken: Condvar::new(),
    waiting: AtomicUsize::new(0),
};

/// How a thread computes, which those that help it take over.
#[derive(Clone, Copy)]
struct Mode {
    /// The most threads, the caller's among them; 0 for as many as there are.
    threads: usize,
    /// Whether numbers too small for all digits count as 0.
    flushes: bool,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode { threads: 0, flushes: false }) };
}

impl Mode {
    /// Runs a function in this mode.
    fn run<R>(self, run: impl FnOnce() -> R) -> R {
        struct Restore(Mode);
        impl Drop for Restore {
            fn drop(&mut self) {
                MODE.set(self.0);
            }
        }
        let _restore = Restore(MODE.replace(self));
        let _flush = self.flushes.then(trusted::FlushDenormals::new);
        run()
    }
}

/// Runs a function in which the CPU path uses at most so many threads, the caller's among them; 0 for as many as there
/// are. Results are the same bits for any number.
///
/// Without it the CPU path uses `BPTT_NUM_THREADS` threads, else `RAYON_NUM_THREADS`, else as many as the process has
/// processors. Their number is no part of a device: it is the calling thread's, until the function returns.
///
/// ```
/// # use bptt::{Device, nn::Sequential};
/// # use ndarray::Array3;
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(bptt::nn::Gru::hidden(8)).build(&Device::cpu(), 0)?;
/// let x = Array3::<f32>::zeros((5, 4, 3));
/// let y = bptt::with_threads(1, || model.predict(&x))?;
/// # Ok(())
/// # }
/// ```
pub fn with_threads<R>(threads: usize, run: impl FnOnce() -> R) -> R {
    let mode = Mode {
        threads,
        ..MODE.get()
    };
    mode.run(run)
}

/// Runs a function in which numbers too small for all their digits count as 0, on this thread and those that help it: on many processors
/// arithmetic with them takes a hundred times as long.
pub(crate) fn flushing_denormals<R>(run: impl FnOnce() -> R) -> R {
    let mode = Mode {
        flushes: true,
        ..MODE.get()
    };
    mode.run(run)
}

/// The threads that work may be split among.
pub(crate) fn count() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    match MODE.get().threads {
        0 => *DEFAULT.get_or_init(|| {
            let named = ["BPTT_NUM_THREADS", "RAYON_NUM_THREADS"];
            let number = |name| std::env::var(name).ok()?.parse().ok();
            let number = named.into_iter().find_map(number);
            let available = || std::thread::available_parallelism().map_or(1, Into::into);
            number
                .filter(|number| *number > 0)
                .unwrap_or_else(available)
        }),
        threads => threads.min(MOST),
    }
}

/// The number of parts to split work into: `parts` at most, one where the work is small.
pub(crate) fn split(flops: usize, parts: usize) -> usize {
    (flops / WORTH_A_THREAD).clamp(1, count().min(parts.max(1)))
}

/// Runs `here` on this thread, and `elsewhere` at the same time on up to `helpers` other threads, on none where none is free. Returns once all
/// have returned.
pub(crate) fn beside<R>(
    helpers: usize,
    elsewhere: &(dyn Fn() + Sync),
    here: impl FnOnce() -> R,
) -> R {
    let helpers = helpers.min(count() - 1);
    if helpers == 0 {
        return here();
    }
    let mode = MODE.get();
    let panic: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    let work = || {
        let outcome = catch_unwind(AssertUnwindSafe(|| mode.run(elsewhere)));
        if let Err(payload) = outcome {
            panic.lock().get_or_insert(payload);
        }
    };
    let result = trusted::lend(&work, |loan| {
        let _offer = POOL.offer(loan, helpers);
        here()
    });
    if let Some(payload) = panic.into_inner() {
        resume_unwind(payload);
    }
    result
}

/// Runs a function over every task, on several threads where there are several tasks.
pub(crate) fn for_each<T>(tasks: impl ExactSizeIterator<Item = T> + Send, run: impl Fn(T) + Sync) {
    let helpers = tasks.len().saturating_sub(1).min(count() - 1);
    if helpers == 0 {
        return tasks.for_each(run);
    }
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().next();
    let work = || {
        while let Some(task) = next() {
            run(task);
        }
    };
    beside(helpers, &work, work);
}

/// [`for_each`], on this thread alone where the work (in floating-point operations or as much) is small.
pub(crate) fn for_each_of<T>(
    work: usize,
    tasks: impl ExactSizeIterator<Item = T> + Send,
    run: impl Fn(T) + Sync,
) {
    if split(work, tasks.len()) > 1 {
        for_each(tasks, run);
    } else {
        tasks.for_each(run);
    }
}

/// Work that is on offer until this goes.
struct Offer<'a>(&'static Pool, &'a Arc<Loan>);

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting.retain(|loan| !Arc::ptr_eq(loan, self.1));
        self.0.waiting.store(state.waiting.len(), Ordering::Relaxed);
    }
}

impl Pool {
    /// Offers work to so many threads, and starts those that there are not yet.
    fn offer<'a>(&'static self, loan: &'a Arc<Loan>, helpers: usize) -> Offer<'a> {
        let mut state = self.state.lock();
        for _ in 0..helpers {
            state.waiting.push_back(Arc::clone(loan));
        }
        self.waiting.store(state.waiting.len(), Ordering::Relaxed);
        let missing = state.waiting.len().saturating_sub(state.idle);
        let most = (count() - 1).saturating_sub(state.threads);
        for _ in 0..missing.min(most) {
            let thread = std::thread::Builder::new().name("bptt".to_owned());
            // Where the system has no more threads, there are fewer helpers.
            if thread.spawn(|| self.help()).is_err() {
                break;
            }
            state.threads += 1;
        }
        drop(state);
        for _ in 0..helpers {
            self.woken.notify_one();
        }
        Offer(self, loan)
    }

    /// What a thread of the pool does: takes up work for ever.
    fn help(&self) {
        loop {
            self.next().call();
        }
    }

    /// The next piece of work, once there is one.
    fn next(&self) -> Arc<Loan> {
        for _ in 0..LOOKS {
            if self.waiting.load(Ordering::Relaxed) > 0 {
                break;
            }
            std::thread::yield_now();
        }
        let mut state = self.state.lock();
        loop {
            if let Some(loan) = state.waiting.pop_front() {
                self.waiting.store(state.waiting.len(), Ordering::Relaxed);
                return loan;
            }
            state.idle += 1;
            self.woken.wait(&mut state);
            state.idle -= 1;
        }
    }
}
