//! Waiting for the GPU.

use super::Context;
use crate::error::Result;
use crate::waiting;

impl Context {
    /// Waits until a submit is done, or all so far.
    pub(crate) fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let wait = wgpu::PollType::Wait {
            submission_index,
            timeout: None,
        };
        let outcome = self.device.poll(wait);
        outcome.map_err(|reason| self.lost(reason))?;
        self.alive()
    }

    /// Waits until a submit is done, without blocking a thread that has other things to do.
    pub(crate) async fn wait_for(&self, index: wgpu::SubmissionIndex) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        if !waiting::may_block()
            && let Some(done) = self.poller.wait(&self.device, index.clone())
        {
            return match done.await {
                Ok(outcome) => outcome.map_err(|reason| self.lost(reason)),
                Err(_) => Err(self.lost("it cannot be polled")),
            };
        }
        // A browser's event loop calls back by itself, and there this does nothing.
        self.wait(Some(index))
    }

    /// Waits until the queue takes more.
    pub(super) fn make_room(&self) -> Result<()> {
        let due = self.in_flight.lock().due();
        match due {
            // In a browser nothing can be waited for here.
            Some((mark, index)) if !cfg!(target_arch = "wasm32") => {
                self.wait(Some(index))?;
                self.in_flight.lock().reached(mark);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Waits until the queue takes more, without blocking a thread that has other things to do.
    pub(crate) async fn room(&self) -> Result<()> {
        let due = self.in_flight.lock().due();
        if let Some((mark, index)) = due {
            self.wait_for(index).await?;
            self.in_flight.lock().reached(mark);
        }
        Ok(())
    }

    /// Waits until what was submitted so far is done, where a submit could block a thread that has other things to do: some drivers
    /// (lavapipe) take none before the one before it is done.
    pub(super) async fn idle(&self) -> Result<()> {
        let latest = self.in_flight.lock().latest();
        match latest {
            Some(index) if !waiting::may_block() && !cfg!(target_arch = "wasm32") => {
                self.wait_for(index).await
            }
            _ => Ok(()),
        }
    }
}
