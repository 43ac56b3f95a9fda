//! How the learning rate changes.

use std::f64::consts::PI;
use std::fmt::Debug;

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

/// How the learning rate changes in a [`Fit`](super::Fit).
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
    /// The rate of the next step, `base` being the optimizer's own.
    fn rate(&self, base: f64, at: Place) -> f64;
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
        let done = at.epoch as f64 / at.epochs.max(1) as f64;
        base * 0.5 * (1.0 + (PI * done).cos())
    }
}
