//! Recurrent stacks.

mod callable;
mod config;
mod layer;
mod stack;

pub use callable::{Recurrent, State, Vjp};
pub use config::{Bias, RecurrentConfig};
