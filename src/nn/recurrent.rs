//! A stack of recurrent layers, as it is configured and written into programs.

use super::module::{Backward, Module, Value};
use super::parameters::{Init, Parameter, ParameterSpec};
use crate::cell::{self, Cell, CellRef};
use crate::error::{Error, Result, check_positive};
use crate::program::{
    ColumnSum, Fill, Gemm, Matrix, PerDirection, Program, RecurrentBackward, RecurrentForward,
    RecurrentShape, Slice,
};

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
    pub(crate) bias: bool,
    pub(crate) forget_bias: Option<f32>,
}

impl<C: Cell + Default> RecurrentConfig<C> {
    /// One layer from `input_size` features to `hidden_size`, with biases.
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self::with_cell(C::default(), input_size, hidden_size)
    }

    /// As [`RecurrentConfig::new`], the input size being that of the layer before, in a
    /// [`Sequential`](super::Sequential).
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
            bias: true,
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

    /// Whether there are biases, `bias_ih` and `bias_hh`, as in PyTorch. Default: yes.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
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
        if self.forget_bias.is_some() && !self.bias {
            return Err(Error::argument(
                "forget_bias",
                "set",
                "unset where bias is false",
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
    /// Sets the forget gate's bias to a constant (in `bias_ih`; `bias_hh`'s to 0), commonly 1 (Jozefowicz et al., 2015; Keras).
    /// Default: drawn like the others, as in PyTorch.
    #[must_use]
    pub fn forget_bias(self, value: f32) -> Self {
        Self {
            forget_bias: Some(value),
            ..self
        }
    }
}

/// A recurrent stack whose cell's type is forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    pub(crate) cell: CellRef,
    pub(crate) input_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) layers: usize,
    pub(crate) directions: usize,
    pub(crate) bias: bool,
    pub(crate) forget_bias: Option<f32>,
}

/// States in a program, `[S, L·D, B, H]` each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct States {
    /// The initial states; zeros where absent.
    pub(crate) initial: Option<Slice>,
    /// The gradient of the last states; zeros where absent.
    pub(crate) d_last: Option<Slice>,
    /// Where the gradient of the initial states goes, where it is wanted.
    pub(crate) d_initial: Option<Slice>,
}

impl Stack {
    fn weights_per_direction(&self) -> usize {
        if self.bias { 4 } else { 2 }
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
        states: States,
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
        let d_initial = states
            .d_initial
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
                bias: self.bias,
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
                initial: states.initial.map(part),
                last: part(last),
                d_last: states.d_last.map(part),
                d_initial: d_initial.map(part),
                wants_initial: states.d_initial.is_some(),
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
        let uniform = Init::Uniform((hidden as f64).powf(-0.5));
        let Init::Uniform(bound) = uniform else {
            unreachable!()
        };
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
                if self.bias {
                    spec("bias_ih", &[rows], bias(1.0));
                    spec("bias_hh", &[rows], bias(0.0));
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
        let (y, _, backward) = self.emit(program, weights, x, States::default(), train);
        (y, backward)
    }
}

/// One layer in a program.
struct Layer {
    cell: CellRef,
    shape: RecurrentShape,
    bias: bool,
    /// weight_ih, weight_hh and, with biases, bias_ih, bias_hh, for each direction.
    weights: Vec<Parameter>,
    /// `[T, B, I]`
    x: Value,
    /// `[T, B, D·H]`
    y: Value,
    saved: Option<Slice>,
    initial: Option<Slice>,
    last: Slice,
    d_last: Option<Slice>,
    d_initial: Option<Slice>,
    wants_initial: bool,
}

impl Layer {
    fn gate_width(&self) -> usize {
        self.cell.gates() * self.shape.hidden
    }

    /// `[T, B, D·G·H]`
    fn gates_shape(&self) -> [usize; 3] {
        [
            self.shape.steps,
            self.shape.batch,
            self.shape.directions * self.gate_width(),
        ]
    }

    /// A direction's columns of `[T·B, D·G·H]`.
    fn gate_columns(&self, gates: Slice, direction: usize) -> Matrix {
        let [steps, batch, width] = self.gates_shape();
        gates
            .matrix(steps * batch, width)
            .columns(direction * self.gate_width(), self.gate_width())
    }

    fn direction(&self, direction: usize) -> &[Parameter] {
        let count = self.weights.len() / self.shape.directions;
        &self.weights[direction * count..(direction + 1) * count]
    }

    /// The n-th weight of every direction.
    fn per_direction(&self, index: usize) -> PerDirection {
        let first = self.direction(0)[index].value;
        let second = self.direction(self.shape.directions - 1)[index].value;
        PerDirection {
            first,
            stride: second.offset - first.offset,
        }
    }

    fn forward(&self, program: &mut Program) {
        let x_gates = program.tensor("x_gates", &self.gates_shape());
        for direction in 0..self.shape.directions {
            let weights = self.direction(direction);
            let weight = weights[0]
                .value
                .matrix(self.gate_width(), self.x.features());
            let product = Gemm::new(
                self.x.matrix(),
                weight,
                self.gate_columns(x_gates, direction),
            );
            program.push(
                product
                    .transpose_b()
                    .bias(self.bias.then(|| weights[2].value)),
            );
        }
        program.push(RecurrentForward {
            cell: self.cell.clone(),
            shape: self.shape,
            x_gates,
            weight_hh: self.per_direction(1),
            bias_hh: self.bias.then(|| self.per_direction(3)),
            initial: self.initial,
            last: self.last,
            y: self.y.slice,
            saved: self.saved,
        });
    }

    fn backward(&self, program: &mut Program) {
        let (Some(saved), Some(d_initial)) = (self.saved, self.d_initial) else {
            unreachable!("a training program keeps what its backward pass needs")
        };
        let d_x_gates = program.tensor("d.x_gates", &self.gates_shape());
        let d_r =
            (!self.cell.shared_gradient()).then(|| program.tensor("d.r", &self.gates_shape()));
        program.push(RecurrentBackward {
            cell: self.cell.clone(),
            shape: self.shape,
            weight_hh: self.per_direction(1),
            saved,
            d_y: self.y.known_gradient(),
            d_last: self.d_last,
            d_initial,
            wants_initial: self.wants_initial,
            d_x: d_x_gates,
            d_r,
        });
        for direction in 0..self.shape.directions {
            let d_x_gates = self.gate_columns(d_x_gates, direction);
            let d_r = d_r.map_or(d_x_gates, |d_r| self.gate_columns(d_r, direction));
            self.weight_gradients(program, direction, d_x_gates, d_r);
            if let Some(d_x) = self.x.gradient_matrix() {
                let weight = self.direction(direction)[0]
                    .value
                    .matrix(self.gate_width(), self.x.features());
                program.push(Gemm::new(d_x_gates, weight, d_x).accumulate(direction > 0));
            }
        }
    }

    /// d_x_gates, d_r: `[T·B, G·H]`.
    fn weight_gradients(
        &self,
        program: &mut Program,
        direction: usize,
        d_x_gates: Matrix,
        d_r: Matrix,
    ) {
        let weights = self.direction(direction);
        if let Some(d_weight_ih) = weights[0].gradient {
            let d_weight_ih = d_weight_ih.matrix(self.gate_width(), self.x.features());
            program.push(Gemm::new(d_x_gates, self.x.matrix(), d_weight_ih).transpose_a());
        }
        if let Some(d_weight_hh) = weights[1].gradient {
            self.recurrent_weight_gradient(program, direction, d_r, d_weight_hh);
        }
        if self.bias {
            for (gates, bias) in [(d_x_gates, weights[2]), (d_r, weights[3])] {
                if let Some(output) = bias.gradient {
                    program.push(ColumnSum {
                        input: gates,
                        output,
                        accumulate: false,
                    });
                }
            }
        }
    }

    /// d_weight_hh = Σ_t d_r_tᵀ h₋, where h₋ is the output one step earlier in the direction's order, and at its first step
    /// the initial state.
    fn recurrent_weight_gradient(
        &self,
        program: &mut Program,
        direction: usize,
        d_r: Matrix,
        d_weight: Slice,
    ) {
        let RecurrentShape {
            steps,
            batch,
            hidden,
            directions,
            ..
        } = self.shape;
        let d_weight = d_weight.matrix(self.gate_width(), hidden);
        let y = self
            .y
            .slice
            .matrix(steps * batch, directions * hidden)
            .columns(direction * hidden, hidden);
        let rows = (steps - 1) * batch;
        let (later, earlier, first) = if direction == 0 {
            (batch, 0, 0)
        } else {
            (0, batch, rows)
        };
        if steps > 1 {
            program.push(
                Gemm::new(d_r.rows(later, rows), y.rows(earlier, rows), d_weight).transpose_a(),
            );
        }
        if let Some(initial) = self.initial {
            let h0 = initial
                .part(direction * batch * hidden, batch * hidden)
                .matrix(batch, hidden);
            let product = Gemm::new(d_r.rows(first, batch), h0, d_weight).transpose_a();
            program.push(product.accumulate(steps > 1));
        } else if steps == 1 {
            let target = d_weight.extent();
            program.push(Fill { target, value: 0.0 });
        }
    }
}
