//! Recurrent stacks to call by themselves.

use super::config::Recurrent;
use super::stack_model::StackModel;
use crate::cell::Cell;
use crate::device::Device;
use crate::error::Result;
use crate::nn::parameters::Parameters;
use crate::tensor::Tensor;

/// The states of a recurrent stack: h `[L·D, B, P]` (P being H without a projection), and for an LSTM c `[L·D, B, H]`. Tensors, or values
/// of a graph.
#[derive(Clone, Debug)]
pub struct State<T = Tensor> {
    pub(super) parts: Vec<T>,
}

impl<T> State<T> {
    /// h `[L·D, B, P]` of an RNN or a GRU.
    pub fn new(h: T) -> Self {
        Self { parts: vec![h] }
    }
    /// h `[L·D, B, P]` and c `[L·D, B, H]` of an LSTM.
    pub fn with_cell(h: T, c: T) -> Self {
        Self { parts: vec![h, c] }
    }
    /// All states of a cell in its order, h first.
    pub fn from_parts(parts: Vec<T>) -> Self {
        Self { parts }
    }
    /// All states in the cell's order, h first.
    pub fn parts(&self) -> &[T] {
        &self.parts
    }
    /// h `[L·D, B, P]`. Panics where there is no part at all.
    pub fn h(&self) -> &T {
        &self.parts[0]
    }
    /// c `[L·D, B, H]`, of an LSTM.
    pub fn c(&self) -> Option<&T> {
        self.parts.get(1)
    }
}

/// A batch of sequences: x `[T, B, I]` and, where they differ, the steps of each row; and whether dropout acts.
///
/// Made of a `&Tensor`, or by [`Input::with_lengths`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Input<'a> {
    pub(crate) x: &'a Tensor,
    pub(crate) lengths: Option<&'a [usize]>,
    pub(crate) random: Option<(u64, u64)>,
}

impl<'a> Input<'a> {
    /// Sequences of different lengths (PyTorch's packed sequences, without sorting). x: `[T, B, I]`; lengths: `[B]`, 0 … T, in any
    /// order. Past its length a row's x has no effect, whatever it is, its y and gradients are 0, and its states stay; the reverse
    /// direction starts at the row's own last step. A row of length 0 hands its initial states through.
    pub fn with_lengths(x: &'a Tensor, lengths: &'a [usize]) -> Self {
        Self {
            x,
            lengths: Some(lengths),
            random: None,
        }
    }

    /// Lets dropout and the other regularisers of the configuration act, as in training. What they draw is a function of seed and step:
    /// a call of [`forward`](RecurrentModel::forward) and one of [`vjp`](RecurrentModel::vjp) with the same draw the same, on any device.
    pub fn train(self, seed: u64, step: u64) -> Self {
        let random = Some((seed, step));
        Self { random, ..self }
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Self {
            x,
            lengths: None,
            random: None,
        }
    }
}

/// What [`RecurrentModel::vjp`] gives.
#[derive(Clone, Debug)]
pub struct Vjp {
    /// `[T, B, D·P]`
    pub y: Tensor,
    /// The states after the last step.
    pub state: State,
    /// The gradient of x, `[T, B, I]`.
    pub d_x: Tensor,
    /// The gradient of the initial states.
    pub d_state: State,
    /// The gradients of the weights.
    pub d_weights: Parameters,
}

/// A recurrent stack with weights on a device, made by [`Recurrent::build`].
///
/// ```
/// use bptt::{Device, Tensor, nn::Lstm};
/// # fn main() -> bptt::Result<()> {
/// let device = Device::best();
/// let lstm = Lstm::new(3, 5).layers(2).build(&device, 42)?;
/// let x = Tensor::from_array(&device, &ndarray::Array3::<f32>::ones((7, 2, 3)))?; // [T, B, I]
/// let (y, state) = lstm.forward(&x, None)?;
/// assert_eq!(y.shape(), [7, 2, 5]);
/// let (_, _) = lstm.forward(&x, Some(&state))?; // goes on where the first call ended
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct RecurrentModel<C> {
    config: Recurrent<C>,
    stack: StackModel,
}

impl<C: Cell> RecurrentModel<C> {
    /// See [`Recurrent::build`], for errors too.
    pub fn new(device: &Device, config: Recurrent<C>, seed: u64) -> Result<Self> {
        let stack = StackModel::new(device, config.stack(config.options.input_size)?, seed)?;
        Ok(Self { config, stack })
    }

    /// Holds the memory that a call of [`forward`](Self::forward) or [`vjp`](Self::vjp) works in to this many bytes, as
    /// [`TrainerBuilder::memory_budget`](crate::train::TrainerBuilder::memory_budget) does for a training step; `None` for no
    /// bound. Default: none.
    pub fn memory_budget(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.stack = self.stack.memory_budget(bytes.into());
        self
    }

    /// How it was built.
    pub fn config(&self) -> &Recurrent<C> {
        &self.config
    }

    /// The weights: `weight_ih_l0 [G·H, I]`, `weight_hh_l0 [G·H, P]`, `bias_ih_l0 [G·H]`, `bias_hh_l0 [G·H]`, … and where the options want
    /// them `weight_hr_l0 [P, H]` and `weight_diag_l0 [V·H]`; of the reverse direction `weight_ih_l0_reverse`, …
    pub fn parameters(&self) -> &Parameters {
        self.stack.parameters()
    }

    /// Runs the stack. x: `[T, B, I]`, or an [`Input`] with lengths; without a state it starts from zeros. Returns y `[T, B,
    /// D·P]`, every h of the last layer (P being H without a projection), and the states after the last step. On a GPU it does
    /// not wait.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::Argument`](crate::Error::Argument) where x or the state do not fit; the
    /// GPU's errors.
    pub fn forward<'a>(
        &self,
        x: impl Into<Input<'a>>,
        state: Option<&State>,
    ) -> Result<(Tensor, State)> {
        self.stack.forward(x.into(), state)
    }

    /// Runs the stack and its backward pass (a vector-Jacobian product): the gradients of ⟨d_y, y⟩ + ⟨d_state, state⟩ with
    /// respect to x, the initial states and every weight. d_y: `[T, B, D·P]`; d_state: like the states, zeros where absent.
    ///
    /// # Errors
    /// As [`RecurrentModel::forward`]; [`Error::Argument`](crate::Error::Argument) where the memory budget is too small.
    pub fn vjp<'a>(
        &self,
        x: impl Into<Input<'a>>,
        state: Option<&State>,
        d_y: &Tensor,
        d_state: Option<&State>,
    ) -> Result<Vjp> {
        self.stack.vjp(x.into(), state, d_y, d_state)
    }
}
