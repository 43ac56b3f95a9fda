//! Training: losses, optimizers, schedules, metrics, and the [`Trainer`] that puts them together. All are open: each is a trait
//! that a program implements in a few lines.

mod callback;
mod fit;
mod loss;
mod metric;
mod optimizer;
mod reduce;
mod schedule;
mod trainer;

pub use callback::{Callback, Flow};
pub use fit::{Epoch, Fit, History};
pub use loss::*;
pub use metric::*;
pub use optimizer::*;
pub use schedule::*;
pub use trainer::{Trainer, TrainerBuilder};
