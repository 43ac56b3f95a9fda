//! What a training step does, and how long each part of it takes.

use super::trainer::Trainer;
use crate::data::Batch;
use crate::error::Result;
use crate::profile::ExecutionPlan;
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::Profile;

impl Trainer {
    /// What a training step on a batch of this shape does, and the memory it takes; nothing runs.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn plan(&self, batch: &Batch) -> Result<ExecutionPlan> {
        self.training_plan(batch)
    }

    /// One training step, as [`Trainer::step`], each part of it timed. Waits until it is done.
    ///
    /// # Errors
    /// As [`Trainer::step`] and [`Executable::profile`](crate::Executable::profile).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile_step(&mut self, batch: &Batch) -> Result<Profile> {
        self.step_with(batch, |executable, copies| {
            executable.profile_with(copies, &[])
        })
    }
}
