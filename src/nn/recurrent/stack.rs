//! A recurrent stack as it is written into programs.

use super::config::{Bias, Recurrent};
use super::model::State;
use crate::CellRef;
use crate::cell::Cell;
use crate::error::{Error, Result, check_shape};
use crate::graph::{DirectionWeights, Dtype, Recurrence, Regularisers, Var};
use crate::nn::{Init, Layer, Scope};
use crate::program::RecurrentShape;

/// A recurrent stack whose cell's type is forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) cell: CellRef,
    pub(crate) input_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) proj_size: Option<usize>,
    pub(crate) layers: usize,
    pub(crate) directions: usize,
    pub(crate) bias: Bias,
    pub(crate) forget_bias: Option<f32>,
    pub(crate) skip_input: bool,
    pub(crate) batch_first: bool,
    pub(crate) regularisers: Regularisers,
    /// Whether weights have PyTorch's names of a layer, `weight_ih_l0`, or of a cell, `weight_ih`.
    pub(crate) names_have_layers: bool,
}

impl Stack {
    /// P, the width of h.
    pub(crate) fn output_size(&self) -> usize {
        self.proj_size.unwrap_or(self.hidden_size)
    }

    /// Features a layer reads.
    fn layer_input(&self, layer: usize) -> usize {
        if layer == 0 {
            self.input_size
        } else {
            self.directions.saturating_mul(self.output_size())
        }
    }

    pub(super) fn shape(&self, steps: usize, batch: usize) -> RecurrentShape {
        RecurrentShape {
            steps,
            batch,
            hidden: self.hidden_size,
            output: self.output_size(),
            directions: self.directions,
        }
    }

    /// `[L·D, B, ·]` of a state: h is P wide, the others H.
    pub(crate) fn state_shape(&self, state: usize, batch: usize) -> [usize; 3] {
        let width = if state == 0 {
            self.output_size()
        } else {
            self.hidden_size
        };
        [self.layers * self.directions, batch, width]
    }

    /// Where a state `[D, B, ·]` is among one layer's: (first element, length).
    pub(super) fn state_part(&self, state: usize, batch: usize) -> (usize, usize) {
        let shape = self.shape(1, batch);
        let first = shape.state_offset(state);
        (first, shape.state_offset(state + 1) - first)
    }

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
        s.graph()
            .check_dtype("x of a recurrent layer", x, Dtype::Float)?;
        let regularisers = self.regularisers;
        let first_site = s.sites(8 * self.layers as u32);
        let mut x = x;
        let mut last = vec![];
        for layer in 0..self.layers {
            let site = first_site + 8 * layer as u32;
            let features = self.layer_input(layer);
            if layer > 0 {
                // A mask of the layer below.
                x = s.dropout_at(x, regularisers.dropout, site - 8, steps * batch * features)?;
            }
            x = s.dropout_at(x, regularisers.input_dropout, site + 1, batch * features)?;
            let directions = ["", "_reverse"].into_iter().take(self.directions);
            let weights = directions.map(|suffix| self.weights(s, layer, suffix));
            let weights = weights.collect::<Result<Vec<_>>>()?;
            let recurrence = Recurrence {
                cell: self.cell.clone(),
                shape: self.shape(steps, batch),
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
        let hidden = self.hidden_size;
        // Saturating: a stack too large for any device is refused by its weights' tensor.
        let rows = self.cell.gates().saturating_mul(hidden);
        let diagonals = self.cell.diagonals().saturating_mul(hidden);
        let bound = (hidden as f64).powf(-0.5);
        let uniform = Init::Uniform(bound);
        // Gate 1 is the forget gate of the one cell that takes the option.
        let bias = |share: f64| match self.forget_bias {
            Some(forget) => Init::UniformExcept {
                bound,
                part: (hidden, hidden),
                value: share * f64::from(forget),
            },
            None => uniform.clone(),
        };
        let mut weight = |present: bool, name: &str, shape: &[usize], init: Init| {
            let name = match self.names_have_layers {
                true => format!("{name}_l{layer}{suffix}"),
                false => name.to_owned(),
            };
            present.then(|| s.parameter(&name, shape, init)).transpose()
        };
        let has_input = layer > 0 || !self.skip_input;
        let inputs = self.layer_input(layer);
        let proj_size = self.proj_size.unwrap_or(0);
        Ok(DirectionWeights {
            weight_ih: weight(has_input, "weight_ih", &[rows, inputs], uniform.clone())?,
            weight_hh: weight(
                true,
                "weight_hh",
                &[rows, self.output_size()],
                uniform.clone(),
            )?,
            bias_ih: weight(self.bias.count() > 0, "bias_ih", &[rows], bias(1.0))?,
            bias_hh: weight(self.bias.count() > 1, "bias_hh", &[rows], bias(0.0))?,
            weight_hr: weight(
                proj_size > 0,
                "weight_hr",
                &[proj_size, hidden],
                uniform.clone(),
            )?,
            weight_diag: weight(diagonals > 0, "weight_diag", &[diagonals], uniform.clone())?,
        })
    }

    /// Each layer's states `[S][D, B, ·]` from those of all layers, `[L·D, B, ·]`.
    fn by_layer(&self, s: &mut Scope<'_>, state: &State<Var>, batch: usize) -> Result<Vec<Var>> {
        let expected = self.cell.states();
        if state.parts.len() != expected {
            let got = format!("{} states", state.parts.len());
            let expected = format!("{expected} for {}", self.cell.name());
            return Err(Error::argument("state", got, expected));
        }
        for (index, part) in state.parts.iter().enumerate() {
            let name = format!("state, part {index}");
            check_shape(&name, s.shape(*part), &self.state_shape(index, batch))?;
        }
        let of_layer = |layer: usize, s: &mut Scope<'_>| {
            let mut parts = vec![];
            for part in &state.parts {
                let own = s.slice(*part, 0, layer * self.directions, self.directions)?;
                let len = s.ty(own).len();
                parts.push(s.reshape(own, &[len])?);
            }
            s.concat(&parts, 0)
        };
        (0..self.layers).map(|layer| of_layer(layer, s)).collect()
    }

    /// The states of all layers, `[L·D, B, ·]`, from each layer's.
    fn of_layers(&self, s: &mut Scope<'_>, layers: &[Var], batch: usize) -> Result<State<Var>> {
        let mut parts = vec![];
        for state in 0..self.cell.states() {
            let (first, len) = self.state_part(state, batch);
            let [_, _, width] = self.state_shape(state, batch);
            let mut of_layers = vec![];
            for layer in layers {
                let own = s.slice(*layer, 0, first, len)?;
                of_layers.push(s.reshape(own, &[self.directions, batch, width])?);
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
        if stack.batch_first {
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
