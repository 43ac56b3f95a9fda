//! One step at a time, for streams.

use super::config::Recurrent;
use super::model::{Input, State};
use super::stack_model::StackModel;
use crate::cell::Cell;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::parameters::Parameters;
use crate::tensor::Tensor;

/// What [`RecurrentCell::vjp`] gives.
#[derive(Clone, Debug)]
pub struct CellVjp {
    /// The new states.
    pub state: State,
    /// The gradient of x, `[B, I]`.
    pub d_x: Tensor,
    /// The gradient of the old states.
    pub d_state: State,
    /// The gradients of the weights.
    pub d_weights: Parameters,
}

/// One step of a recurrent layer with weights on a device, for streams: see [`RnnCell`](crate::nn::RnnCell),
/// [`LstmCell`](crate::nn::LstmCell), [`GruCell`](crate::nn::GruCell). The states stay on the device from step to step.
///
/// ```
/// use bptt::{Device, Tensor, nn::{LstmCell, Lstm}};
/// # fn main() -> bptt::Result<()> {
/// let device = Device::best();
/// let cell = LstmCell::new(&device, Lstm::new(3, 5), 42)?;
/// let x = Tensor::from_array(&device, &ndarray::Array2::<f32>::ones((2, 3)))?; // [B, I]
/// let mut state = cell.step(&x, None)?;
/// for _ in 0..10 {
///     state = cell.step(&x, Some(&state))?;
/// }
/// assert_eq!(state.h().shape(), [2, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RecurrentCell<C> {
    config: Recurrent<C>,
    stack: StackModel,
}

impl<C: Cell> RecurrentCell<C> {
    /// Makes a cell with weights drawn as those of a layer: `weight_ih [G·H, I]`, `weight_hh [G·H, P]`, `bias_ih [G·H]`, `bias_hh [G·H]`,
    /// and where the options want them `weight_hr [P, H]` and `weight_diag [V·H]`. Dropout and zoneout's draws do not act on single
    /// steps.
    ///
    /// # Errors
    /// [`Error::Argument`] for more than one layer or direction, for batch_first, and as [`Recurrent::build`].
    pub fn new(device: &Device, config: Recurrent<C>, seed: u64) -> Result<Self> {
        let mut stack = config.stack(config.options.input_size)?;
        let of = &mut stack.options;
        if (of.layers, of.directions()) != (1, 1) {
            let got = format!("{} layers, {} directions", of.layers, of.directions());
            return Err(Error::argument("config", got, "one of each for a cell"));
        }
        if of.batch_first {
            let expected = "false: a step has no time axis";
            return Err(Error::argument("batch_first", true, expected));
        }
        of.is_one_step = true;
        let stack = StackModel::new(device, stack, seed)?;
        Ok(Self { config, stack })
    }

    /// How it was built.
    pub fn config(&self) -> &Recurrent<C> {
        &self.config
    }

    /// The weights.
    pub fn parameters(&self) -> &Parameters {
        self.stack.parameters()
    }

    /// One step. x: `[B, I]`; state: h `[B, P]`, of an LSTM also c `[B, H]`; zeros without one. Returns the new states. On a GPU
    /// it does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] where x or the state do not fit; the GPU's errors.
    pub fn step(&self, x: &Tensor, state: Option<&State>) -> Result<State> {
        let x = self.sequence(x)?;
        let state = self.stacked("state", state, &x)?;
        let (_, state) = self.stack.forward(Input::from(&x), state.as_ref())?;
        flat(&state)
    }

    /// One step and its backward pass: the gradients of ⟨d_new, new states⟩ with respect to x, the old states and every weight.
    /// Errors as [`RecurrentCell::step`].
    pub fn vjp(&self, x: &Tensor, state: Option<&State>, d_new: &State) -> Result<CellVjp> {
        let x = self.sequence(x)?;
        let state = self.stacked("state", state, &x)?;
        let d_new = self.stacked("d_new", Some(d_new), &x)?;
        let d_y_shape = [1, x.shape()[1], self.stack.stack().options.output_size()];
        let d_y = Tensor::zeros(x.device(), &d_y_shape)?;
        let vjp = self
            .stack
            .vjp(Input::from(&x), state.as_ref(), &d_y, d_new.as_ref())?;
        Ok(CellVjp {
            state: flat(&vjp.state)?,
            d_x: vjp.d_x.reshape(&vjp.d_x.shape()[1..])?,
            d_state: flat(&vjp.d_state)?,
            d_weights: vjp.d_weights,
        })
    }

    /// `[B, I]` as `[1, B, I]`.
    fn sequence(&self, x: &Tensor) -> Result<Tensor> {
        match *x.shape() {
            [batch, features] if features == self.config.options.input_size => {
                x.reshape(&[1, batch, features])
            }
            _ => {
                let expected = format!("[B, {}]", self.config.options.input_size);
                Err(Error::shape("x", x.shape(), expected))
            }
        }
    }

    /// `[B, ·]` as `[1, B, ·]`, of every state. x: `[1, B, I]`.
    fn stacked(&self, argument: &str, state: Option<&State>, x: &Tensor) -> Result<Option<State>> {
        let shape = |index: usize| self.stack.stack().options.state_shape(index, x.shape()[1]);
        let without_layers = |index: usize| [shape(index)[1], shape(index)[2]];
        self.stack.check_state(argument, state, without_layers)?;
        let Some(state) = state else { return Ok(None) };
        let part = |(index, part): (usize, &Tensor)| part.reshape(&shape(index));
        let parts = state.parts.iter().enumerate().map(part);
        Ok(Some(State {
            parts: parts.collect::<Result<_>>()?,
        }))
    }
}

/// `[1, B, ·]` as `[B, ·]`, of every state.
fn flat(state: &State) -> Result<State> {
    let part = |part: &Tensor| part.reshape(&part.shape()[1..]);
    let parts = state.parts.iter().map(part).collect::<Result<_>>()?;
    Ok(State { parts })
}
