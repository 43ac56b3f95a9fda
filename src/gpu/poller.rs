//! A thread that polls a device for those who may not block.

use futures::channel::oneshot;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How long a poll waits at most: meanwhile others may have to wait for locks that it holds.
const SLICE: Duration = Duration::from_millis(5);

/// Who waits for which submits of a device, in order.
#[derive(Default)]
pub(super) struct Poller(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: Vec<(wgpu::SubmissionIndex, oneshot::Sender<Outcome>)>,
    /// Whether there is a thread that looks at what is waiting.
    running: bool,
}

type Outcome = Result<(), wgpu::PollError>;

impl Poller {
    /// What a wait for a submit will give: nothing where polling failed. The thread is started where there is none, and ends when nobody
    /// waits; `None` where no thread is to be had.
    pub(super) fn wait(
        &self,
        device: &wgpu::Device,
        index: wgpu::SubmissionIndex,
    ) -> Option<oneshot::Receiver<Outcome>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        if !state.running {
            let (shared, device) = (Arc::clone(&self.0), device.clone());
            let thread = std::thread::Builder::new().name("bptt poll".into());
            thread.spawn(move || run(&shared, &device)).ok()?;
            state.running = true;
        }
        state.waiting.push((index, sender));
        Some(receiver)
    }
}

fn run(state: &Mutex<State>, device: &wgpu::Device) {
    let _end = OnPanic(state);
    loop {
        let index = {
            let mut state = state.lock();
            // Futures that were dropped wait for nothing.
            state.waiting.retain(|(_, sender)| !sender.is_canceled());
            let Some((index, _)) = state.waiting.first() else {
                state.running = false;
                return;
            };
            index.clone()
        };
        let outcome = device.poll(wgpu::PollType::Wait {
            submission_index: Some(index),
            timeout: Some(SLICE),
        });
        if !matches!(outcome, Err(wgpu::PollError::Timeout)) {
            let (_, sender) = state.lock().waiting.remove(0);
            sender.send(outcome.map(|_| ())).ok();
        }
    }
}

/// Lets nobody wait for ever if wgpu panics.
struct OnPanic<'a>(&'a Mutex<State>);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.0.lock() = State::default();
        }
    }
}
