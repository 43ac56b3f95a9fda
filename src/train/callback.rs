//! What is told of a training while it runs.

use super::fit::Epoch;
use super::trainer::Trainer;
use crate::error::Result;

/// Whether a training goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    #[default]
    Continue,
    /// It ends after this epoch, as if that had been the last.
    Stop,
}

/// What is told of every epoch, and may look at the trainer, change its rate, or end the training. A closure is one: `|epoch|
/// println!("{}", epoch.loss)`.
///
/// One that ends a training whose loss is good enough:
///
/// ```
/// use bptt::train::{Callback, Epoch, Flow, Trainer};
///
/// struct GoodEnough(f64);
///
/// impl Callback for GoodEnough {
///     fn epoch(&mut self, epoch: &Epoch, _: &mut Trainer) -> bptt::Result<Flow> {
///         Ok(if epoch.loss < self.0 { Flow::Stop } else { Flow::Continue })
///     }
/// }
/// ```
pub trait Callback: Send {
    /// Called after every epoch.
    ///
    /// # Errors
    /// An error ends the training with it.
    fn epoch(&mut self, epoch: &Epoch, trainer: &mut Trainer) -> Result<Flow>;
}

impl<F: FnMut(&Epoch) + Send> Callback for F {
    fn epoch(&mut self, epoch: &Epoch, _: &mut Trainer) -> Result<Flow> {
        self(epoch);
        Ok(Flow::Continue)
    }
}
