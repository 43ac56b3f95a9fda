//! Layers: they write [graphs](crate::graph) with a [`Scope`], and own their weights once they are a [`Model`].
//!
//! Weights have PyTorch's names, shapes and order, on every device.

mod cache;
mod calls;
mod compiled;
mod feed;
mod function;
mod input_spec;
mod layer;
mod layers;
mod model;
mod parameters;
mod predict;
mod recurrent;
mod rows;
mod scope;
mod sequential;
mod sites;
mod space;
mod trace;

pub(crate) use cache::{Kept, ShapeCache};
pub(crate) use compiled::{Compiled, Draft, Draw, Execute};
pub(crate) use feed::{Feed, Signature, signatures};
pub use function::Function;
pub use input_spec::InputSpec;
pub use layer::{Inputs, Layer};
pub use layers::*;
pub use model::Model;
pub(crate) use parameters::ParameterSpec;
pub use parameters::{Init, Parameters, Weights};
pub(crate) use recurrent::check_lengths;
pub use recurrent::{
    Bias, CellVjp, FinalState, Input, Recurrent, RecurrentCell, RecurrentModel, State, Vjp,
};
#[cfg(feature = "safetensors")]
pub(crate) use recurrent::{Stack, StackModel};
pub use rows::RowOf;
pub use scope::Scope;
pub use sequential::Sequential;
pub(crate) use space::Space;
pub(crate) use trace::Trace;

use crate::cell::{GruUnit, LstmUnit, RnnUnit};

/// A vanilla RNN, one or several layers (PyTorch's `nn.RNN`): see [`RnnUnit`] for the equation.
pub type Rnn = Recurrent<RnnUnit>;
/// An LSTM, one or several layers (PyTorch's `nn.LSTM`): see [`LstmUnit`] for the equations.
pub type Lstm = Recurrent<LstmUnit>;
/// A GRU, one or several layers (PyTorch's `nn.GRU`): see [`GruUnit`] for the equations.
pub type Gru = Recurrent<GruUnit>;
/// A vanilla RNN with weights on a device.
pub type RnnModel = RecurrentModel<RnnUnit>;
/// An LSTM with weights on a device.
pub type LstmModel = RecurrentModel<LstmUnit>;
/// A GRU with weights on a device.
pub type GruModel = RecurrentModel<GruUnit>;
/// One step of a vanilla RNN, for streams (PyTorch's `nn.RNNCell`).
pub type RnnCell = RecurrentCell<RnnUnit>;
/// One step of an LSTM, for streams (PyTorch's `nn.LSTMCell`).
pub type LstmCell = RecurrentCell<LstmUnit>;
/// One step of a GRU, for streams (PyTorch's `nn.GRUCell`).
pub type GruCell = RecurrentCell<GruUnit>;
