//! A recurrent stack as it is written into programs.

use super::config::{Recurrent, Stack};
use super::model::State;
use crate::cell::Cell;
use crate::error::{Error, Result, check_shape, require};
use crate::graph::{DirectionWeights, Dtype, Recurrence, Var};
use crate::nn::{Init, Layer, Scope};
use crate::program::product;

impl Stack {
    /// Writes all layers. x: `[T, B, F]`; initial: each layer's states, `[S][D, B, ·]` flat. Returns y and each layer's last states.
    pub(super) fn forward(
        &self,
        s: &mut Scope<'_>,
        x: Var,
        initial: Option<&[Var]>,
    ) -> Result<(Var, Vec<Var>)> {
        let [steps, batch, _] = *s.shape(x) else {
            let expected = "[T, B, F]: a sequence, before last_step";
            return Err(Error::shape("x of a recurrent layer", s.shape(x), expected));
        };
        if steps == 0 || batch == 0 {
            let expected = "[T, B, F] of at least one step and one row";
            return Err(Error::shape("x of a recurrent layer", s.shape(x), expected));
        }
        s.graph()
            .check_dtype("x of a recurrent layer", x, Dtype::Float)?;
        let of = &self.options;
        let regularisers = of.regularisers;
        let first_site = s.sites(8 * of.layers as u32);
        let mut x = x;
        let mut last = vec![];
        for layer in 0..of.layers {
            let site = first_site + 8 * layer as u32;
            let features = of.layer_input(layer);
            if layer > 0 {
                // A mask of the layer below.
                let period = product(&[steps, batch, features]);
                x = s.dropout_at(x, regularisers.dropout, site - 8, period)?;
            }
            let period = product(&[batch, features]);
            x = s.dropout_at(x, regularisers.input_dropout, site + 1, period)?;
            let directions = ["", "_reverse"].into_iter().take(of.directions());
            let weights = directions.map(|suffix| self.weights(s, layer, suffix));
            let weights = weights.collect::<Result<Vec<_>>>()?;
            let recurrence = Recurrence {
                cell: self.cell.clone(),
                shape: of.shape(steps, batch),
                weights: vec![],
                lengths: None,
                initial: None,
                regularisers,
                site,
                is_random: s.is_training() && regularisers.are_inside(),
            };
            let before = initial.map(|initial| initial[layer]);
            let (y, states) = s.graph().recurrence(recurrence, x, before, &weights);
            last.push(states);
            x = y;
        }
        Ok((x, last))
    }

    /// The weights of one direction of a layer.
    fn weights(
        &self,
        s: &mut Scope<'_>,
        layer: usize,
        suffix: &str,
    ) -> Result<DirectionWeights<Var>> {
        let of = &self.options;
        let (hidden, inputs, outputs) = (of.hidden_size, of.layer_input(layer), of.output_size());
        // Saturating: a stack too large for any device is refused by its weights' tensor.
        let rows = self.cell.gates().saturating_mul(hidden);
        let diagonals = self.cell.diagonals().saturating_mul(hidden);
        let bound = (hidden as f64).powf(-0.5);
        let uniform = Init::Uniform(bound);
        // Gate 1 is the forget gate of the one cell that takes the option.
        let bias = |share: f64| match of.forget_bias {
            Some(forget) => Init::UniformExcept {
                bound,
                part: (hidden, hidden),
                value: share * f64::from(forget),
            },
            None => uniform,
        };
        let mut weight = |present: bool, name: &str, shape: &[usize], init: Init| {
            let name = match of.is_one_step {
                true => name.to_owned(),
                false => format!("{name}_l{layer}{suffix}"),
            };
            present.then(|| s.parameter(&name, shape, init)).transpose()
        };
        let (has_input, projects) = (layer > 0 || !of.skip_input, of.proj_size.is_some());
        Ok(DirectionWeights {
            weight_ih: weight(has_input, "weight_ih", &[rows, inputs], uniform)?,
            weight_hh: weight(true, "weight_hh", &[rows, outputs], uniform)?,
            bias_ih: weight(of.bias.count() > 0, "bias_ih", &[rows], bias(1.0))?,
            bias_hh: weight(of.bias.count() > 1, "bias_hh", &[rows], bias(0.0))?,
            weight_hr: weight(projects, "weight_hr", &[outputs, hidden], uniform)?,
            weight_diag: weight(diagonals > 0, "weight_diag", &[diagonals], uniform)?,
        })
    }

    /// `Ok` where a state has as many parts as the cell has states.
    pub(super) fn check_parts(&self, argument: &str, parts: usize) -> Result<()> {
        let states = self.cell.states();
        let expected = format!("{states} for {}", self.cell.name());
        require(
            argument,
            format!("{parts} states"),
            parts == states,
            expected,
        )
    }

    /// Each layer's states `[S][D, B, ·]` from those of all layers, `[L·D, B, ·]`.
    fn by_layer(&self, s: &mut Scope<'_>, state: &State<Var>, batch: usize) -> Result<Vec<Var>> {
        self.check_parts("state", state.parts.len())?;
        let of = &self.options;
        for (index, part) in state.parts.iter().enumerate() {
            let name = format!("state, part {index}");
            check_shape(&name, s.shape(*part), &of.state_shape(index, batch))?;
        }
        let of_layer = |layer: usize, s: &mut Scope<'_>| {
            let mut parts = vec![];
            for part in &state.parts {
                let own = s.slice(*part, 0, layer * of.directions(), of.directions())?;
                let len = s.ty(own).len();
                parts.push(s.reshape(own, &[len])?);
            }
            s.concat(&parts, 0)
        };
        (0..of.layers).map(|layer| of_layer(layer, s)).collect()
    }

    /// The states of all layers, `[L·D, B, ·]`, from each layer's.
    fn of_layers(&self, s: &mut Scope<'_>, layers: &[Var], batch: usize) -> Result<State<Var>> {
        let mut parts = vec![];
        for state in 0..self.cell.states() {
            let (first, len) = self.options.state_part(state, batch);
            let [_, _, width] = self.options.state_shape(state, batch);
            let shape = [self.options.directions(), batch, width];
            let mut of_layers = vec![];
            for layer in layers {
                let own = s.slice(*layer, 0, first, len)?;
                of_layers.push(s.reshape(own, &shape)?);
            }
            parts.push(s.concat(&of_layers, 0)?);
        }
        Ok(State { parts })
    }
}

impl<C: Cell> Recurrent<C> {
    /// The stack that reads a value of a model.
    fn stack_of(&self, s: &Scope<'_>, x: Var) -> Result<Stack> {
        let stack = self.stack(s.ty(x).features())?;
        if stack.options.batch_first {
            let expected = "false in a model, which is time-major; `permute` costs nothing";
            return Err(Error::argument("batch_first", true, expected));
        }
        Ok(stack)
    }
}

impl<C: Cell> Layer for Recurrent<C> {
    type Input = (Var, Option<State<Var>>);
    type Output = (Var, State<Var>);

    fn forward(
        &self,
        s: &mut Scope<'_>,
        (x, state): (Var, Option<State<Var>>),
    ) -> Result<(Var, State<Var>)> {
        let stack = self.stack_of(s, x)?;
        let batch = s.shape(x).get(1).copied().unwrap_or(1);
        let initial = match state {
            Some(state) => Some(stack.by_layer(s, &state, batch)?),
            None => None,
        };
        let (y, last) = stack.forward(s, x, initial.as_deref())?;
        Ok((y, stack.of_layers(s, &last, batch)?))
    }
}

/// A stack as a layer from x to y, in a [`Sequential`](crate::nn::Sequential).
#[derive(Debug)]
pub(in crate::nn) struct OnlyOutput<C>(pub(in crate::nn) Recurrent<C>);

impl<C: Cell> Layer for OnlyOutput<C> {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        Ok(self.0.stack_of(s, x)?.forward(s, x, None)?.0)
    }
}

/// A recurrent stack as a layer from x `[T, B, F]` to what it ends with: h of its last layer after each row's own last step, `[B, D·P]`, that of the
/// reverse direction (which has then seen the whole row) behind that of the forward one. Keras' `return_sequences=False`; in PyTorch
/// `torch.cat([h_n[-2], h_n[-1]], 1)`, or `h_n[-1]` of one direction. A row of length 0 gives zeros.
///
/// ```
/// use bptt::{Device, nn::{FinalState, Gru, Sequential}};
/// # fn main() -> bptt::Result<()> {
/// let encoder = FinalState(Gru::hidden(8).bidirectional(true));
/// let model = Sequential::new(3).add(encoder).linear(2).build(&Device::cpu(), 42)?;
/// let y = model.predict(&ndarray::Array3::<f32>::zeros((10, 4, 3)))?;
/// assert_eq!(y.shape(), [4, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FinalState<C>(
    /// The stack.
    pub Recurrent<C>,
);

impl<C: Cell> Layer for FinalState<C> {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        let stack = self.0.stack_of(s, x)?;
        let (_, last) = stack.forward(s, x, None)?;
        let (of, batch) = (&stack.options, s.shape(x)[1]);
        let (first, len) = of.state_part(0, batch);
        let [_, _, width] = of.state_shape(0, batch);
        let h = s.slice(last[of.layers - 1], 0, first, len)?;
        let h = s.reshape(h, &[of.directions(), batch, width])?;
        let h = s.permute(h, &[1, 0, 2])?;
        s.reshape(h, &[batch, of.directions() * width])
    }
}
