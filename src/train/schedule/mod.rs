//! How the learning rate changes.

mod plateau;
mod steps;

pub use plateau::Plateau;
pub use steps::{
    CosineAnnealing, CosineRestarts, ExponentialDecay, OneCycle, StepDecay, WarmupCosine,
};

use crate::error::Result;
use std::fmt::Debug;
use steps::cosine;

/// Where a training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The steps done.
    pub step: u64,
    /// The steps of all epochs.
    pub steps: u64,
    /// The epochs done.
    pub epoch: usize,
    /// All epochs.
    pub epochs: usize,
}

impl Place {
    /// After so many steps, of a training whose end is not known: for schedules that are a function of the step alone.
    pub fn at_step(step: u64) -> Self {
        Self {
            step,
            steps: u64::MAX,
            epoch: 0,
            epochs: usize::MAX,
        }
    }
}

/// How the learning rate changes in a [`Fit`](super::Fit), or by [`Trainer::schedule`](super::Trainer::schedule).
///
/// A linear warm-up, as a schedule of one's own:
///
/// ```
/// use bptt::train::{Place, Schedule};
///
/// #[derive(Debug)]
/// struct WarmUp(u64);
///
/// impl Schedule for WarmUp {
///     fn rate(&self, base: f64, at: Place) -> f64 {
///         base * ((at.step + 1) as f64 / self.0 as f64).min(1.0)
///     }
/// }
/// ```
pub trait Schedule: Debug + Send + Sync {
    /// The rate of the next step, `base` being the optimizer's own. It is asked for each group of weights.
    fn rate(&self, base: f64, at: Place) -> f64;

    /// `Ok` where the schedule's own numbers are in range. Default: they are.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for the first that is not.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// The optimizer's own rate throughout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Constant;

impl Schedule for Constant {
    fn rate(&self, base: f64, _: Place) -> f64 {
        base
    }
}

/// Half a cosine from the optimizer's rate towards 0 after the last epoch, changing with every epoch (Loshchilov & Hutter, 2017).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cosine;

impl Schedule for Cosine {
    fn rate(&self, base: f64, at: Place) -> f64 {
        cosine(base, 0.0, at.epoch as f64 / at.epochs.max(1) as f64)
    }
}
