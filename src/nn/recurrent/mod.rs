//! Recurrent stacks.

mod backward;
mod callable;
mod check;
mod config;
mod layer;
mod options;
mod part;
mod runner;
mod single_step;
mod stack;
#[cfg(test)]
mod tests;
mod weight_gradient;

pub use callable::{Input, Recurrent, State, Vjp};
pub(crate) use check::check_lengths;
#[cfg(feature = "safetensors")]
pub(crate) use config::Regularisers;
pub use config::{Bias, RecurrentConfig};
#[cfg(feature = "safetensors")]
pub(crate) use runner::RecurrentStack;
pub use single_step::{CellVjp, RecurrentCell};
#[cfg(feature = "safetensors")]
pub(crate) use stack::Stack;
