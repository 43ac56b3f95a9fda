//! How gradients change weights. Everything as in PyTorch's `torch.optim`.

mod adadelta;
mod adagrad;
mod adam;
mod lion;
mod moments;
mod nadam;
mod radam;
mod rmsprop;
mod sgd;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use lion::Lion;
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use crate::error::{Result, check_single, require};
use crate::expr::Expr;
use std::fmt::Debug;

/// An optimizer: how a weight's gradient changes the weight, as an expression of one element. It is one dispatch over all weights.
///
/// Sign descent, as an optimizer of one's own:
///
/// ```
/// use bptt::{Device, expr::{Expr, Lanes}, nn::{Gru, Sequential}, train::{Optimizer, Trainer, Update}};
///
/// #[derive(Debug)]
/// struct SignDescent { learning_rate: f64 }
///
/// impl Optimizer for SignDescent {
///     fn learning_rate(&self) -> f64 {
///         self.learning_rate
///     }
///     fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t> {
///         let (g, one) = (of.gradient, of.gradient.constant(1.0));
///         // +1, −1, or 0 where the gradient is.
///         let sign = g.where_positive(one, (-g).where_positive(-one, g));
///         of.weight - of.scalars[0] * sign
///     }
/// }
///
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let trainer = Trainer::new(model, SignDescent { learning_rate: 1e-3 }).build()?;
/// # Ok(())
/// # }
/// ```
pub trait Optimizer: Debug + Send + Sync {
    /// The learning rate that a schedule starts from.
    fn learning_rate(&self) -> f64;

    /// How many numbers it keeps for each weight, all zeros at first. Default: none.
    fn states(&self) -> usize {
        0
    }

    /// The numbers of a step, which counts from 1, that [`Update::scalars`] gives: the host computes them in f64. Those that stay the same
    /// can as well be constants of the expression. Default: the learning rate.
    fn scalars(&self, step: u64, learning_rate: f64) -> Vec<f64> {
        let _ = step;
        vec![learning_rate]
    }

    /// The new weight.
    fn update<'t>(&self, of: Update<'_, 't>) -> Expr<'t>;

    /// `Ok` where every number is in its range. Default: `Ok`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) that names the number.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// What an [`Optimizer`] computes with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Update<'a, 't> {
    /// The weight.
    pub weight: Expr<'t>,
    /// The weight's gradient, clipped where that is asked for.
    pub gradient: Expr<'t>,
    /// What it keeps for the weight: the old numbers in, the new ones out.
    pub states: &'a mut [Expr<'t>],
    /// The numbers of the step.
    pub scalars: &'a [Expr<'t>],
}

/// `Ok` for a finite number, at least 0.
pub(super) fn check_rate(name: &str, value: f64) -> Result<()> {
    let fits = value.is_finite() && value >= 0.0;
    require(name, value, fits, "a finite number, at least 0")?;
    // A schedule may end at a rate that f32 takes for 0.
    check_single(name, value.max(f64::from(f32::MIN_POSITIVE)))
}

/// `Ok` for what is added to a divisor so that it is not 0.
fn check_epsilon(value: f64) -> Result<()> {
    check_rate("epsilon", value)?;
    check_single("epsilon", value)
}

/// `Ok` for what is kept of a mean from step to step.
fn check_share(name: &str, value: f64) -> Result<()> {
    let fits = (0.0..1.0).contains(&value);
    require(name, value, fits, "at least 0 and less than 1")
}
