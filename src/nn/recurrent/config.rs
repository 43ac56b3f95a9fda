//! How a recurrent stack is built.

use super::model::RecurrentModel;
use super::options::{Bias, Options};
use crate::CellRef;
use crate::cell::{Cell, Counts};
use crate::device::Device;
use crate::error::{Error, Result, check_positive};

/// A recurrent stack whose cell's type is forgotten.
pub(crate) type Stack = Recurrent<CellRef>;

/// A recurrent stack of any cell, one or several layers: see [`Rnn`](crate::nn::Rnn), [`Lstm`](crate::nn::Lstm), [`Gru`](crate::nn::Gru).
///
/// It is a [`Layer`](crate::nn::Layer) from x `[T, B, F]` and the states before (zeros where absent) to y `[T, B, D·P]` and the states
/// after. [`build`](Recurrent::build) gives it weights of its own.
///
/// ```
/// use bptt::nn::Lstm;
/// let stack = Lstm::new(3, 64).layers(2).forget_bias(1.0);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Recurrent<C> {
    pub(crate) cell: C,
    pub(crate) options: Options,
}

impl<C: Cell + Default> Recurrent<C> {
    /// One layer from `input_size` features to `hidden_size`, with biases.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self::with_cell(C::default(), input_size, hidden_size)
    }

    /// One layer to `hidden_size` features, from as many as its input has.
    pub fn hidden(hidden_size: usize) -> Self {
        Self::new(0, hidden_size)
    }
}

impl<C: Cell> Recurrent<C> {
    /// One layer of a cell.
    pub fn with_cell(cell: C, input_size: usize, hidden_size: usize) -> Self {
        let options = Options::new(input_size, hidden_size);
        Self { cell, options }
    }

    /// L, the number of layers. Default: 1. Layers above the first read the layer below.
    pub fn layers(mut self, layers: usize) -> Self {
        self.options.layers = layers;
        self
    }

    /// Whether a second set of weights reads the sequence backwards (PyTorch's `bidirectional`): y is then `[T, B, 2·H]`, both
    /// directions side by side. Default: no.
    pub fn bidirectional(mut self, bidirectional: bool) -> Self {
        self.options.bidirectional = bidirectional;
        self
    }

    /// The biases; `true` is [`Bias::Two`] and `false` [`Bias::None`], as in PyTorch. Default: two.
    pub fn bias(mut self, bias: impl Into<Bias>) -> Self {
        self.options.bias = bias.into();
        self
    }

    /// No `weight_ih` in the first layer: x, whose size must be H, is added to every gate's pre-activation as it is (cuDNN's
    /// `CUDNN_SKIP_INPUT`). Default: no.
    pub fn skip_input(mut self, skip_input: bool) -> Self {
        self.options.skip_input = skip_input;
        self
    }

    /// Whether x and y are `[B, T, ·]` instead of `[T, B, ·]`; states stay `[L·D, B, ·]`, as in PyTorch. It costs a copy of each.
    /// Default: no.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.options.batch_first = batch_first;
        self
    }

    /// Dropout between layers, not after the last, so none in a stack of one: each element of each step with this probability (PyTorch's
    /// and cuDNN's `dropout`). Default: 0.
    ///
    /// This and the other regularisers act in training only: in [`Trainer::step`](crate::train::Trainer::step), and where
    /// [`Input::train`](crate::nn::Input::train) says so. What is drawn is a function of (seed, step), by Philox4x32-10: the
    /// same on every device, forward and backward.
    pub fn dropout(mut self, rate: f64) -> Self {
        self.options.regularisers.dropout = rate;
        self
    }

    /// Variational dropout of every layer's input: one mask `[B, F]` for all steps (Gal & Ghahramani, 2016; Keras' `dropout`).
    /// Default: 0.
    pub fn input_dropout(mut self, rate: f64) -> Self {
        self.options.regularisers.input_dropout = rate;
        self
    }

    /// Variational dropout of what enters the recurrent products, h₋ (or r⊙h₋, where a GRU's reset gate acts before): one mask
    /// `[B, P]` a gate for all steps (Gal & Ghahramani, 2016; Keras' `recurrent_dropout`). Default: 0.
    pub fn recurrent_dropout(mut self, rate: f64) -> Self {
        self.options.regularisers.recurrent_dropout = rate;
        self
    }

    /// DropConnect: weights of `weight_hh` dropped, one mask a training step (Wan et al., 2013; Merity et al., 2018: AWD-LSTM).
    /// Default: 0.
    pub fn weight_dropout(mut self, rate: f64) -> Self {
        self.options.regularisers.weight_dropout = rate;
        self
    }

    /// Zoneout (Krueger et al., 2017): each unit of h, and of the other states (c of an LSTM; nothing of the others), keeps its
    /// old value with these probabilities. Outside of training a state is p·old + (1 − p)·new. Default: 0, 0.
    pub fn zoneout(mut self, h: f64, c: f64) -> Self {
        self.options.regularisers.zoneout = [h, c];
        self
    }

    /// The cell.
    pub fn cell(&self) -> &C {
        &self.cell
    }

    /// The stack with weights drawn from U(±1/√H), PyTorch's default, by ChaCha8 from `seed`: the same on every device.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size of 0 or an option that does not fit; [`Error::Limit`] and [`Error::OutOfMemory`] on a GPU that
    /// cannot hold it.
    pub fn build(self, device: &Device, seed: u64) -> Result<RecurrentModel<C>> {
        RecurrentModel::new(device, self, seed)
    }

    /// Without the cell's type, checked, for inputs of so many features.
    pub(crate) fn stack(&self, features: usize) -> Result<Stack> {
        check_positive("input_size", features)?;
        let own = self.options.input_size;
        if own > 0 && own != features {
            let expected = format!("{features}, the features of the layer before");
            return Err(Error::argument("input_size", own, expected));
        }
        let options = Options {
            input_size: features,
            ..self.options
        };
        Counts::to_derive(&self.cell).check(self.cell.name())?;
        self.cell.check()?;
        options.check()?;
        let cell = CellRef::new(self.cell.clone());
        Ok(Stack { cell, options })
    }
}
