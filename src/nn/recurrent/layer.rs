//! One recurrent layer in a program, forward and backward.

use crate::cell::CellRef;
use crate::nn::module::Value;
use crate::nn::parameters::Parameter;
use crate::program::{
    ColumnSum, Fill, GatherLast, Gemm, Matrix, PerDirection, Program, RecurrentBackward,
    RecurrentForward, RecurrentShape, Slice,
};

/// One layer in a program.
pub(super) struct Layer {
    pub(super) cell: CellRef,
    pub(super) shape: RecurrentShape,
    /// weight_ih, weight_hh and, where there are, bias_ih, bias_hh, for each direction.
    pub(super) weights: Vec<Parameter>,
    /// `[T, B, I]`
    pub(super) x: Value,
    /// `[T, B, D·H]`
    pub(super) y: Value,
    pub(super) saved: Option<Slice>,
    /// `[B]`
    pub(super) lengths: Option<Slice>,
    pub(super) initial: Option<Slice>,
    pub(super) last: Slice,
    pub(super) d_state: Option<Slice>,
    pub(super) has_d_last: bool,
    pub(super) wants_initial: bool,
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

    /// The n-th weight of every direction, where there is one.
    fn per_direction(&self, index: usize) -> Option<PerDirection> {
        let first = self.direction(0).get(index)?.value;
        let second = self.direction(self.shape.directions - 1)[index].value;
        Some(PerDirection {
            first,
            stride: second.offset - first.offset,
        })
    }

    fn weight_hh(&self) -> PerDirection {
        self.per_direction(1)
            .expect("every layer has recurrent weights")
    }

    pub(super) fn forward(&self, program: &mut Program) {
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
                    .bias(weights.get(2).map(|bias| bias.value)),
            );
        }
        program.push(RecurrentForward {
            cell: self.cell.clone(),
            shape: self.shape,
            x_gates,
            weight_hh: self.weight_hh(),
            bias_hh: self.per_direction(3),
            lengths: self.lengths,
            initial: self.initial,
            last: self.last,
            y: self.y.slice,
            saved: self.saved,
        });
    }

    pub(super) fn backward(&self, program: &mut Program) {
        let (Some(saved), Some(d_state)) = (self.saved, self.d_state) else {
            unreachable!("a training program keeps what its backward pass needs")
        };
        let d_x_gates = program.tensor("d.x_gates", &self.gates_shape());
        let d_r =
            (!self.cell.shared_gradient()).then(|| program.tensor("d.r", &self.gates_shape()));
        program.push(RecurrentBackward {
            cell: self.cell.clone(),
            shape: self.shape,
            weight_hh: self.weight_hh(),
            saved,
            d_y: self.y.known_gradient(),
            lengths: self.lengths,
            d_state,
            has_d_last: self.has_d_last,
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
        for (gates, bias) in [d_x_gates, d_r].into_iter().zip(&weights[2..]) {
            if let Some(output) = bias.gradient {
                program.push(ColumnSum {
                    input: gates,
                    output,
                    accumulate: false,
                });
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
            // The reverse direction starts at each row's own last step, whose y one step on is 0 and has added nothing above.
            let d_r = match self.lengths {
                Some(lengths) if direction == 1 => {
                    let output = program.tensor("d.r of first steps", &[batch, self.gate_width()]);
                    let output = output.matrix(batch, self.gate_width());
                    program.push(GatherLast {
                        input: d_r,
                        lengths,
                        output,
                    });
                    output
                }
                _ => d_r.rows(first, batch),
            };
            let product = Gemm::new(d_r, h0, d_weight).transpose_a();
            program.push(product.accumulate(steps > 1));
        } else if steps == 1 {
            let target = d_weight.extent();
            program.push(Fill { target, value: 0.0 });
        }
    }
}
