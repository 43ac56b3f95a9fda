//! What is minimised.

mod binary_cross_entropy;
mod cross_entropy;
mod huber;
mod mae;
mod mse;
mod quantile;

pub use binary_cross_entropy::BinaryCrossEntropy;
pub use cross_entropy::CrossEntropy;
pub use huber::Huber;
pub use mae::Mae;
pub use mse::Mse;
pub use quantile::Quantile;

use crate::error::Result;
use crate::graph::{Type, Var};
use crate::nn::Scope;
use std::fmt::Debug;

/// How the losses of all elements become one number. Elements past a sequence's length do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The mean of all, PyTorch's default.
    #[default]
    Mean,
    /// The sum of all.
    Sum,
}

/// A loss: what each element of a model's output costs beside its target.
///
/// A loss of one's own, which grows as the error does where that is large, and is smooth (log cosh):
///
/// ```
/// use bptt::{Device, data::Batch, expr::Lanes, graph::Var, nn::{Gru, Scope, Sequential}, train::{Loss, Sgd, Trainer}};
/// use ndarray::{Array2, Array3};
///
/// #[derive(Debug)]
/// struct LogCosh;
///
/// impl Loss for LogCosh {
///     fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> bptt::Result<Var> {
///         s.map("log_cosh", [output, target], |[output, target]| {
///             let error = output - target;
///             error + (error * -2.0).softplus() - std::f64::consts::LN_2
///         })
///     }
/// }
///
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).gru(Gru::hidden(8)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let mut trainer = Trainer::new(model, Sgd::new(0.1)).loss(LogCosh).build()?;
/// trainer.step(&Batch::new(Array3::<f32>::ones((5, 4, 3)), Array2::<f32>::ones((4, 1))))?;
/// # Ok(())
/// # }
/// ```
pub trait Loss: Debug + Send + Sync {
    /// The loss of every element, or of every row: of the output's shape, or without its last axes.
    ///
    /// # Errors
    /// Where the output does not fit, naming it.
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var>;

    /// `Ok` where the loss's own numbers are in range. Default: they are.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for the first that is not.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// What targets must be like. Default: the output.
    fn target(&self, output: &Type) -> Type {
        Type::float(output.shape.clone())
    }

    /// How the elements become one number. Default: their mean.
    fn reduction(&self) -> Reduction {
        Reduction::Mean
    }

    /// Class numbers below which targets must be, where they are classes. Default: none.
    fn classes(&self, output: &Type) -> Option<usize> {
        let _ = output;
        None
    }
}
