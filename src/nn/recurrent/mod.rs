//! Recurrent stacks.

mod callable;
mod config;
mod layer;
mod runner;
mod stack;

pub use callable::{Input, Recurrent, State, Vjp};
pub use config::{Bias, RecurrentConfig};
#[cfg(feature = "safetensors")]
pub(crate) use runner::RecurrentStack;
#[cfg(feature = "safetensors")]
pub(crate) use stack::Stack;
