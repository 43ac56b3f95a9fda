//! A recurrent stack as it is written into programs.

use super::config::{Bias, Regularisers};
use super::layer::{DirectionWeights, Layer};
use crate::CellRef;
use crate::error::{Error, Result};
use crate::nn::module::{Backward, Mode, Module, Value};
use crate::nn::parameters::{Init, Parameter, ParameterSpec};
use crate::program::{Program, RecurrentShape, Slice};

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

/// The states around a stack in a program, see [`Stack::states_len`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Surroundings {
    /// The initial states; zeros where absent.
    pub(crate) initial: Option<Slice>,
    /// The gradient of the last states in, that of the initial states out; where absent, the first is zeros and the second not
    /// wanted.
    pub(crate) d_state: Option<Slice>,
    /// Whether `d_state` is given and not only taken.
    pub(crate) has_d_last: bool,
    /// Whether somebody reads the last states.
    pub(crate) wants_last: bool,
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

    /// The elements of a layer's states, `[S][D, B, ·]`, and with the gradients of the diagonal weights, `[D, B, V, H]`, behind them.
    fn layer_states_len(&self, batch: usize, gradients: bool) -> usize {
        let states = self.shape(1, batch).state_offset(self.cell.states());
        let diagonals = self.directions * batch * self.cell.diagonals() * self.hidden_size;
        states + if gradients { diagonals } else { 0 }
    }

    /// The elements of a tensor of all layers' states, or of their gradients.
    pub(crate) fn states_len(&self, batch: usize, gradients: bool) -> usize {
        self.layers * self.layer_states_len(batch, gradients)
    }

    /// Where one layer's part of a state `[D, B, ·]` is in such a tensor: (first element, length).
    pub(crate) fn state_part(
        &self,
        layer: usize,
        state: usize,
        batch: usize,
        gradients: bool,
    ) -> (usize, usize) {
        let shape = self.shape(1, batch);
        let first = shape.state_offset(state);
        (
            layer * self.layer_states_len(batch, gradients) + first,
            shape.state_offset(state + 1) - first,
        )
    }

    /// Writes all layers. Returns y, the tensor of the last states (for others only where they are wanted), and the backward pass.
    pub(crate) fn emit(
        &self,
        program: &mut Program,
        weights: &[Parameter],
        x: Value,
        around: Surroundings,
        mode: Mode,
    ) -> (Value, Slice, Backward) {
        let [steps, batch] = [x.shape[0], x.shape[1]];
        let shape = self.shape(steps, batch);
        let last_shape = [self.states_len(batch, false)];
        let last = match around.wants_last {
            true => program.tensor("last states", &last_shape),
            false => program.temporary("last states", &last_shape),
        };
        // The backward pass needs somewhere to carry the gradients of the states, wanted or not.
        let d_state = around.d_state.or_else(|| {
            let len = self.states_len(batch, true);
            mode.train.then(|| program.temporary("d.states", &[len]))
        });
        let mut passes: Vec<Backward> = vec![];
        let mut weights = weights.iter();
        let mut x = x;
        for layer in 0..self.layers {
            let site = mode.site + 8 * layer as u32;
            let regularisers = &self.regularisers;
            if let Some(rng) = mode.rng {
                let mut dropout = |site, rate, period| {
                    let (value, backward) = x.dropout(program, rng, site, rate, period);
                    x = value;
                    passes.push(backward);
                };
                if layer > 0 && regularisers.dropout > 0.0 {
                    // A mask of the layer below.
                    let elements = steps * batch * self.layer_input(layer);
                    dropout(site - 8, regularisers.dropout, elements);
                }
                if regularisers.input_dropout > 0.0 {
                    let elements = batch * self.layer_input(layer);
                    dropout(site + 1, regularisers.input_dropout, elements);
                }
            }
            let part = |states: Slice, gradients: bool| {
                let len = self.layer_states_len(batch, gradients);
                states.part(layer * len, len)
            };
            let weights = (0..self.directions)
                .map(|_| self.direction_weights(layer, &mut weights))
                .collect();
            let y_shape = [steps, batch, self.directions * self.output_size()];
            let y = Value::new(program, &format!("y_l{layer}"), &y_shape, mode.train);
            let layer = Layer {
                cell: self.cell.clone(),
                shape,
                weights,
                x: x.clone(),
                y: y.clone(),
                mode: Mode { site, ..mode },
                regularisers: *regularisers,
                initial: around.initial.map(|states| part(states, false)),
                last: part(last, false),
                d_state: d_state.map(|states| part(states, true)),
                has_d_last: around.has_d_last,
                wants_initial: around.d_state.is_some(),
                is_top: layer + 1 == self.layers,
            };
            passes.push(layer.emit(program));
            x = y;
        }
        let backward =
            move |program: &mut Program| passes.into_iter().rev().for_each(|pass| pass(program));
        (x, last, Box::new(backward))
    }

    /// A direction's weights from all in order; the order is that of [`Stack::parameters`].
    fn direction_weights<'a>(
        &self,
        layer: usize,
        weights: &mut impl Iterator<Item = &'a Parameter>,
    ) -> DirectionWeights {
        let mut next = |present: bool| {
            let weight = present.then(|| weights.next().expect("as many as were asked for"));
            weight.copied()
        };
        DirectionWeights {
            weight_ih: next(layer > 0 || !self.skip_input),
            weight_hh: next(true).expect("every layer has recurrent weights"),
            bias_ih: next(self.bias.count() > 0),
            bias_hh: next(self.bias.count() > 1),
            weight_hr: next(self.proj_size.is_some()),
            weight_diag: next(self.cell.diagonals() > 0),
        }
    }
}

impl Module for Stack {
    fn parameters(&self) -> Vec<ParameterSpec> {
        let hidden = self.hidden_size;
        // Saturating: a stack too large for any device is refused by its weights' tensor.
        let rows = self.cell.gates().saturating_mul(hidden);
        let diagonals = self.cell.diagonals().saturating_mul(hidden);
        let bound = (hidden as f64).powf(-0.5);
        let uniform = Init::Uniform(bound);
        // Gate 1 is the forget gate of the one cell that takes the option.
        let bias = |value: f32| match self.forget_bias {
            Some(forget) => Init::UniformExcept {
                bound,
                part: (hidden, hidden),
                value: value * forget,
            },
            None => uniform.clone(),
        };
        let mut specs = vec![];
        for layer in 0..self.layers {
            for suffix in ["", "_reverse"].iter().take(self.directions) {
                let mut spec = |name: &str, shape: &[usize], init: &Init| {
                    let name = if self.names_have_layers {
                        format!("{name}_l{layer}{suffix}")
                    } else {
                        name.to_owned()
                    };
                    specs.push(ParameterSpec::new(name, shape, init.clone()));
                };
                if layer > 0 || !self.skip_input {
                    spec("weight_ih", &[rows, self.layer_input(layer)], &uniform);
                }
                spec("weight_hh", &[rows, self.output_size()], &uniform);
                for (name, share) in [("bias_ih", 1.0), ("bias_hh", 0.0)]
                    .into_iter()
                    .take(self.bias.count())
                {
                    spec(name, &[rows], &bias(share));
                }
                if let Some(proj_size) = self.proj_size {
                    spec("weight_hr", &[proj_size, hidden], &uniform);
                }
                if self.cell.diagonals() > 0 {
                    spec("weight_diag", &[diagonals], &uniform);
                }
            }
        }
        specs
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        match input {
            [first, second, _] => Ok(vec![*first, *second, self.directions * self.output_size()]),
            _ => Err(Error::argument(
                "recurrent layer",
                "after last_step",
                "before it, on a sequence [T, B, F]",
            )),
        }
    }

    fn forward(
        &self,
        program: &mut Program,
        weights: &[Parameter],
        x: Value,
        mode: Mode,
    ) -> (Value, Backward) {
        let (y, _, backward) = self.emit(program, weights, x, Surroundings::default(), mode);
        (y, backward)
    }

    fn is_random(&self) -> bool {
        self.regularisers.are_random(self.layers)
    }
}
