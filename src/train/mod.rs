//! Training: losses, optimizers, and the loop around them.

mod fit;
mod loss;
mod optimizer;
mod profile;
mod shared;
mod trainer;

pub use fit::{Epoch, Fit, History};
pub use loss::{Loss, Mse, Reduction, SoftmaxCrossEntropy};
pub use optimizer::{Adam, Optimizer, Sgd};
pub use trainer::Trainer;
