//! Layers: they write [`Program`](crate::Program)s, forward and backward, and own their weights.
//!
//! Weights have PyTorch's names, shapes and order, on every device.

pub(crate) mod budget;
mod builder;
mod cache;
mod last_step;
mod linear;
mod module;
mod parameters;
mod recurrent;
mod sequential;
mod softmax;

pub use builder::SequentialBuilder;
pub use linear::Linear;
pub use parameters::{Parameters, Weights};
pub use recurrent::{Bias, CellVjp, Input, Recurrent, RecurrentCell, RecurrentConfig, State, Vjp};
pub use sequential::Sequential;

pub(crate) use cache::ShapeCache;
pub(crate) use module::{Mode, Value};
pub(crate) use recurrent::check_lengths;
#[cfg(feature = "safetensors")]
pub(crate) use {
    module::Module,
    recurrent::{RecurrentStack, Regularisers, Stack},
};

/// A vanilla RNN, one or several layers (PyTorch's `nn.RNN`): see [`cell::RnnUnit`](crate::cell::RnnUnit) for the equation.
pub type Rnn = Recurrent<crate::cell::RnnUnit>;
/// An LSTM, one or several layers (PyTorch's `nn.LSTM`): see [`cell::LstmUnit`](crate::cell::LstmUnit) for the equations.
pub type Lstm = Recurrent<crate::cell::LstmUnit>;
/// A GRU, one or several layers (PyTorch's `nn.GRU`): see [`cell::GruUnit`](crate::cell::GruUnit) for the equations.
pub type Gru = Recurrent<crate::cell::GruUnit>;
/// One step of a vanilla RNN, for streams (PyTorch's `nn.RNNCell`).
pub type RnnCell = RecurrentCell<crate::cell::RnnUnit>;
/// One step of an LSTM, for streams (PyTorch's `nn.LSTMCell`).
pub type LstmCell = RecurrentCell<crate::cell::LstmUnit>;
/// One step of a GRU, for streams (PyTorch's `nn.GRUCell`).
pub type GruCell = RecurrentCell<crate::cell::GruUnit>;
/// How an [`Rnn`] is built.
pub type RnnConfig = RecurrentConfig<crate::cell::RnnUnit>;
/// How an [`Lstm`] is built.
pub type LstmConfig = RecurrentConfig<crate::cell::LstmUnit>;
/// How a [`Gru`] is built.
pub type GruConfig = RecurrentConfig<crate::cell::GruUnit>;
