//! How a recurrent stack is built.

use super::model::RecurrentModel;
use super::stack::Stack;
use crate::CellRef;
use crate::cell::Cell;
use crate::device::Device;
use crate::error::{Error, Result, check_positive};
use crate::graph::Regularisers;

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

impl Regularisers {
    fn check(&self) -> Result<()> {
        for (argument, rate) in [
            ("dropout", self.dropout),
            ("input_dropout", self.input_dropout),
            ("recurrent_dropout", self.recurrent_dropout),
            ("weight_dropout", self.weight_dropout),
            ("zoneout of h", self.zoneout[0]),
            ("zoneout of c", self.zoneout[1]),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return Err(Error::argument(argument, rate, "0 to below 1"));
            }
        }
        Ok(())
    }

    /// Whether a layer draws random numbers itself, besides those for what goes into it.
    pub(super) fn are_inside(&self) -> bool {
        let inside = [self.recurrent_dropout, self.weight_dropout];
        inside.iter().chain(&self.zoneout).any(|rate| *rate > 0.0)
    }

    /// Whether anything is drawn at random in training.
    pub(super) fn are_random(&self, layers: usize) -> bool {
        let between = if layers > 1 { self.dropout } else { 0.0 };
        between > 0.0 || self.input_dropout > 0.0 || self.are_inside()
    }
}

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
    pub(crate) input_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) proj_size: Option<usize>,
    pub(crate) layers: usize,
    pub(crate) bidirectional: bool,
    pub(crate) bias: Bias,
    pub(crate) forget_bias: Option<f32>,
    pub(crate) skip_input: bool,
    pub(crate) batch_first: bool,
    pub(crate) regularisers: Regularisers,
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
        Self {
            cell,
            input_size,
            hidden_size,
            proj_size: None,
            layers: 1,
            bidirectional: false,
            bias: Bias::Two,
            forget_bias: None,
            skip_input: false,
            batch_first: false,
            regularisers: Regularisers::default(),
        }
    }

    /// L, the number of layers. Default: 1. Layers above the first read the layer below.
    pub fn layers(self, layers: usize) -> Self {
        Self { layers, ..self }
    }

    /// Whether a second set of weights reads the sequence backwards (PyTorch's `bidirectional`): y is then `[T, B, 2·H]`, both
    /// directions side by side. Default: no.
    pub fn bidirectional(mut self, bidirectional: bool) -> Self {
        self.bidirectional = bidirectional;
        self
    }

    /// The biases; `true` is [`Bias::Two`] and `false` [`Bias::None`], as in PyTorch. Default: two.
    pub fn bias(mut self, bias: impl Into<Bias>) -> Self {
        self.bias = bias.into();
        self
    }

    /// No `weight_ih` in the first layer: x, whose size must be H, is added to every gate's pre-activation as it is (cuDNN's
    /// `CUDNN_SKIP_INPUT`). Default: no.
    pub fn skip_input(self, skip_input: bool) -> Self {
        Self { skip_input, ..self }
    }

    /// Whether x and y are `[B, T, ·]` instead of `[T, B, ·]`; states stay `[L·D, B, ·]`, as in PyTorch. It costs a copy of each.
    /// Default: no.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Dropout between layers, not after the last, so none in a stack of one: each element of each step with this probability (PyTorch's
    /// and cuDNN's `dropout`). Default: 0.
    ///
    /// This and the other regularisers act in training only: in [`Trainer::step`](crate::train::Trainer::step), and where
    /// [`Input::train`](crate::nn::Input::train) says so. What is drawn is a function of (seed, step), by Philox4x32-10: the
    /// same on every device, forward and backward.
    pub fn dropout(mut self, rate: f64) -> Self {
        self.regularisers.dropout = rate;
        self
    }

    /// Variational dropout of every layer's input: one mask `[B, F]` for all steps (Gal & Ghahramani, 2016; Keras' `dropout`).
    /// Default: 0.
    pub fn input_dropout(mut self, rate: f64) -> Self {
        self.regularisers.input_dropout = rate;
        self
    }

    /// Variational dropout of what enters the recurrent products, h₋ (or r⊙h₋, where a GRU's reset gate acts before): one mask
    /// `[B, P]` a gate for all steps (Gal & Ghahramani, 2016; Keras' `recurrent_dropout`). Default: 0.
    pub fn recurrent_dropout(mut self, rate: f64) -> Self {
        self.regularisers.recurrent_dropout = rate;
        self
    }

    /// DropConnect: weights of `weight_hh` dropped, one mask a training step (Wan et al., 2013; Merity et al., 2018: AWD-LSTM).
    /// Default: 0.
    pub fn weight_dropout(mut self, rate: f64) -> Self {
        self.regularisers.weight_dropout = rate;
        self
    }

    /// Zoneout (Krueger et al., 2017): each unit of h, and of the other states (c of an LSTM; nothing of the others), keeps its
    /// old value with these probabilities. Outside of
    /// training a state is p·old + (1 − p)·new. Default: 0, 0.
    pub fn zoneout(mut self, h: f64, c: f64) -> Self {
        self.regularisers.zoneout = [h, c];
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
        if self.input_size > 0 && self.input_size != features {
            let expected = format!("{features}, the features of the layer before");
            return Err(Error::argument("input_size", self.input_size, expected));
        }
        check_positive("hidden_size", self.hidden_size)?;
        check_positive("layers", self.layers)?;
        self.cell.check()?;
        self.regularisers.check()?;
        if self.forget_bias.is_some() && self.bias == Bias::None {
            return Err(Error::argument(
                "forget_bias",
                "set",
                "unset where there is no bias",
            ));
        }
        if let Some(value) = self.forget_bias.filter(|value| !value.is_finite()) {
            return Err(Error::argument("forget_bias", value, "a finite number"));
        }
        if let Some(proj_size) = self
            .proj_size
            .filter(|size| !(1..self.hidden_size).contains(size))
        {
            let expected = format!("1 to below the hidden size, {}", self.hidden_size);
            return Err(Error::argument("proj_size", proj_size, expected));
        }
        if self.skip_input && features != self.hidden_size {
            let expected = format!("the hidden size, {}, with skip_input", self.hidden_size);
            return Err(Error::argument("input_size", features, expected));
        }
        Ok(Stack {
            cell: CellRef::new(self.cell.clone()),
            input_size: features,
            hidden_size: self.hidden_size,
            proj_size: self.proj_size,
            layers: self.layers,
            directions: if self.bidirectional { 2 } else { 1 },
            bias: self.bias,
            forget_bias: self.forget_bias,
            skip_input: self.skip_input,
            batch_first: self.batch_first,
            regularisers: self.regularisers,
            names_have_layers: true,
        })
    }
}
