//! Recurrent stacks.

mod cell_options;
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
pub use config::Recurrent;
pub use model::{Input, RecurrentModel, State, Vjp};
pub use options::Bias;
pub use single_step::{CellVjp, RecurrentCell};
pub use stack::FinalState;
pub(super) use stack::OnlyOutput;
#[cfg(feature = "safetensors")]
pub(crate) use {config::Stack, stack_model::StackModel};
