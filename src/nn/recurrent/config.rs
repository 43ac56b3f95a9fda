//! How a recurrent stack is built.

use super::stack::Stack;
use crate::cell::{self, Cell, CellRef};
use crate::error::{Error, Result, check_positive};

/// The biases of a recurrent layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    /// None.
    None,
    /// `bias_ih` only, as in textbooks. It moves half as far in training as the sum of two, each of which gets the full gradient.
    One,
    /// `bias_ih` and `bias_hh`, as in PyTorch and cuDNN.
    #[default]
    Two,
}

impl From<bool> for Bias {
    fn from(bias: bool) -> Self {
        if bias { Self::Two } else { Self::None }
    }
}

impl Bias {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// How a recurrent stack is built.
///
/// ```
/// use bptt::nn::LstmConfig;
/// let config = LstmConfig::new(3, 64).layers(2).forget_bias(1.0);
/// ```
#[derive(Clone, Debug)]
pub struct RecurrentConfig<C> {
    pub(crate) cell: C,
    pub(crate) input_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) layers: usize,
    pub(crate) bidirectional: bool,
    pub(crate) bias: Bias,
    pub(crate) forget_bias: Option<f32>,
}

impl<C: Cell + Default> RecurrentConfig<C> {
    /// One layer from `input_size` features to `hidden_size`, with biases.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self::with_cell(C::default(), input_size, hidden_size)
    }

    /// As [`RecurrentConfig::new`], the input size being that of the layer before, in a
    /// [`Sequential`](crate::nn::Sequential).
    pub fn hidden(hidden_size: usize) -> Self {
        Self::new(0, hidden_size)
    }
}

impl<C: Cell> RecurrentConfig<C> {
    /// One layer of a cell.
    pub fn with_cell(cell: C, input_size: usize, hidden_size: usize) -> Self {
        Self {
            cell,
            input_size,
            hidden_size,
            layers: 1,
            bidirectional: false,
            bias: Bias::Two,
            forget_bias: None,
        }
    }

    /// L, the number of layers. Default: 1. Layers above the first read the layer below.
    #[must_use]
    pub fn layers(self, layers: usize) -> Self {
        Self { layers, ..self }
    }

    /// Whether a second set of weights reads the sequence backwards (PyTorch's `bidirectional`): y is then `[T, B, 2·H]`, both
    /// directions side by side. Default: no.
    #[must_use]
    pub fn bidirectional(self, bidirectional: bool) -> Self {
        Self {
            bidirectional,
            ..self
        }
    }

    /// The biases; `true` is [`Bias::Two`] and `false` [`Bias::None`], as in PyTorch. Default: two.
    #[must_use]
    pub fn bias(self, bias: impl Into<Bias>) -> Self {
        Self {
            bias: bias.into(),
            ..self
        }
    }

    /// The cell.
    pub fn cell(&self) -> &C {
        &self.cell
    }

    /// Without the cell's type, checked.
    pub(crate) fn stack(&self) -> Result<Stack> {
        check_positive("input_size", self.input_size)?;
        check_positive("hidden_size", self.hidden_size)?;
        check_positive("layers", self.layers)?;
        if self.forget_bias.is_some() && self.bias == Bias::None {
            return Err(Error::argument(
                "forget_bias",
                "set",
                "unset where there is no bias",
            ));
        }
        Ok(Stack {
            cell: CellRef::new(self.cell.clone()),
            input_size: self.input_size,
            hidden_size: self.hidden_size,
            layers: self.layers,
            directions: if self.bidirectional { 2 } else { 1 },
            bias: self.bias,
            forget_bias: self.forget_bias,
        })
    }
}

impl RecurrentConfig<cell::Rnn> {
    /// The activation. Default: tanh.
    #[must_use]
    pub fn nonlinearity(self, nonlinearity: cell::Nonlinearity) -> Self {
        Self {
            cell: cell::Rnn { nonlinearity },
            ..self
        }
    }
}

impl RecurrentConfig<cell::Lstm> {
    /// Sets the forget gate's bias to a constant (in `bias_ih`, and `bias_hh`'s to 0), commonly 1 (Jozefowicz et al., 2015; Keras).
    /// Default: drawn like the others, as in PyTorch.
    #[must_use]
    pub fn forget_bias(self, value: f32) -> Self {
        Self {
            forget_bias: Some(value),
            ..self
        }
    }
}
