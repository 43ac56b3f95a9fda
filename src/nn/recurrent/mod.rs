//! Recurrent stacks.

mod check;
mod config;
mod model;
mod options;
mod single_step;
mod stack;
mod stack_model;
#[cfg(test)]
mod tests;

pub(crate) use check::check_lengths;
pub use config::{Bias, Recurrent};
pub use model::{Input, RecurrentModel, State, Vjp};
pub use single_step::{CellVjp, RecurrentCell};
pub(super) use stack::OnlyOutput;
#[cfg(feature = "safetensors")]
pub(crate) use {stack::Stack, stack_model::StackModel};
