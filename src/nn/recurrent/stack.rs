//! A recurrent stack as it is written into programs.

use super::config::Bias;
use super::layer::Layer;
use crate::cell::CellRef;
use crate::error::{Error, Result};
use crate::nn::module::{Backward, Module, Value};
use crate::nn::parameters::{Init, Parameter, ParameterSpec};
use crate::program::{Program, RecurrentShape, Slice};

/// A recurrent stack whose cell's type is forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) cell: CellRef,
    pub(crate) input_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) layers: usize,
    pub(crate) directions: usize,
    pub(crate) bias: Bias,
    pub(crate) forget_bias: Option<f32>,
}

/// What surrounds a stack in a program: lengths `[B]` and states, `[S, L·D, B, H]` each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Surroundings {
    /// The steps of each row; all T where absent.
    pub(crate) lengths: Option<Slice>,
    /// The initial states; zeros where absent.
    pub(crate) initial: Option<Slice>,
    /// The gradient of the last states in, that of the initial states out; where absent, the first is zeros and the second not
    /// wanted.
    pub(crate) d_state: Option<Slice>,
    /// Whether `d_state` is given and not only taken.
    pub(crate) has_d_last: bool,
}

impl Stack {
    fn weights_per_direction(&self) -> usize {
        2 + self.bias.count()
    }

    /// Features a layer reads.
    fn layer_input(&self, layer: usize) -> usize {
        if layer == 0 {
            self.input_size
        } else {
            self.directions * self.hidden_size
        }
    }

    /// `[S, L·D, B, H]`
    pub(crate) fn state_shape(&self, batch: usize) -> [usize; 4] {
        [
            self.cell.states(),
            self.layers * self.directions,
            batch,
            self.hidden_size,
        ]
    }

    /// Writes all layers. Returns y, the tensor of the last states, and the backward pass.
    pub(crate) fn emit(
        &self,
        program: &mut Program,
        weights: &[Parameter],
        x: Value,
        around: Surroundings,
        train: bool,
    ) -> (Value, Slice, Backward) {
        let [steps, batch] = [x.shape[0], x.shape[1]];
        let hidden = self.hidden_size;
        let state_shape = self.state_shape(batch);
        let shape = RecurrentShape {
            steps,
            batch,
            hidden,
            directions: self.directions,
            state_stride: self.layers * self.directions * batch * hidden,
        };
        let last = program.tensor("last states", &state_shape);
        // The backward pass needs somewhere to carry the gradients of the states, wanted or not.
        let d_state = around
            .d_state
            .or_else(|| train.then(|| program.tensor("d.states", &state_shape)));
        let mut layers = vec![];
        let mut x = x;
        for layer in 0..self.layers {
            let count = self.directions * self.weights_per_direction();
            let weights = &weights[layer * count..(layer + 1) * count];
            let part = |states: Slice| {
                let size = self.directions * batch * hidden;
                states.part(
                    layer * size,
                    (self.cell.states() - 1) * shape.state_stride + size,
                )
            };
            let layer = Layer {
                cell: self.cell.clone(),
                shape,
                weights: weights.to_vec(),
                x: x.clone(),
                y: Value::new(
                    program,
                    &format!("y_l{layer}"),
                    &[steps, batch, self.directions * hidden],
                    train,
                ),
                saved: train.then(|| {
                    let saved = [self.directions, self.cell.saved(), steps, batch, hidden];
                    program.tensor(format!("saved_l{layer}"), &saved)
                }),
                lengths: around.lengths,
                initial: around.initial.map(part),
                last: part(last),
                d_state: d_state.map(part),
                has_d_last: around.has_d_last,
                wants_initial: around.d_state.is_some(),
            };
            layer.forward(program);
            x = layer.y.clone();
            layers.push(layer);
        }
        let backward = move |program: &mut Program| {
            layers
                .iter()
                .rev()
                .for_each(|layer| layer.backward(program))
        };
        (x, last, Box::new(backward))
    }
}

impl Module for Stack {
    fn parameters(&self) -> Vec<ParameterSpec> {
        let hidden = self.hidden_size;
        let rows = self.cell.gates() * hidden;
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
                let mut spec = |name: &str, shape: &[usize], init| {
                    specs.push(ParameterSpec::new(
                        format!("{name}_l{layer}{suffix}"),
                        shape,
                        init,
                    ));
                };
                spec(
                    "weight_ih",
                    &[rows, self.layer_input(layer)],
                    uniform.clone(),
                );
                spec("weight_hh", &[rows, hidden], uniform.clone());
                for (name, share) in [("bias_ih", 1.0), ("bias_hh", 0.0)]
                    .into_iter()
                    .take(self.bias.count())
                {
                    spec(name, &[rows], bias(share));
                }
            }
        }
        specs
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        match input {
            [steps, batch, _] => Ok(vec![*steps, *batch, self.directions * self.hidden_size]),
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
        train: bool,
    ) -> (Value, Backward) {
        let (y, _, backward) = self.emit(program, weights, x, Surroundings::default(), train);
        (y, backward)
    }
}
