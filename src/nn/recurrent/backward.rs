//! One recurrent layer in a program, backward.

use super::layer::{Kept, Trace};
use super::part::Part;
use crate::program::{
    ColumnSum, Fill, GatesLayout, Gemm, Matrix, Program, RecurrentBackward, RecurrentShape, Repeat,
    RepeatBackward, Slice,
};

impl Trace {
    /// Part after part, the last first. The gradients of weights add up.
    pub(super) fn backward(&self, program: &mut Program) {
        if let Some(d_x) = self.layer.x.gradient.filter(|_| !self.is_direct()) {
            // The directions come to a step in different parts.
            program.push(Fill {
                target: d_x,
                value: 0.0,
            });
        }
        let targets = self.recurrent_weight_targets(program);
        for part in self.parts.iter().rev() {
            let kept = match self.kept.filter(|_| part.is_last) {
                None => self.forward(program, part, (true, true)),
                kept => kept,
            };
            let (Some(kept), Some(d_state)) = (kept, self.layer.d_state) else {
                unreachable!("a training program keeps what its backward pass needs")
            };
            self.part_backward(program, part, kept, d_state, &targets);
        }
        self.finish_recurrent_weights(program, &targets);
    }

    /// The gradient of y of a part's steps, `[T, B, D, P]`.
    fn d_y(&self, program: &mut Program, part: &Part) -> Slice {
        let layer = &self.layer;
        let d_y = layer.y.known_gradient();
        if self.is_direct() {
            return self.direct(part, d_y);
        }
        let shape = part.shape(&layer.shape);
        let own = program.temporary("d.y of a part", &[shape.rows() * shape.output]);
        for direction in 0..shape.directions {
            let all = layer.columns(d_y, shape.output, direction);
            program.push(Repeat {
                input: layer.rows(part, direction, all),
                bias: None,
                output: layer.columns(own, shape.output, direction),
            });
        }
        own
    }

    fn part_backward(
        &self,
        program: &mut Program,
        part: &Part,
        kept: Kept,
        d_state: Slice,
        targets: &[Option<Slice>],
    ) {
        let layer = &self.layer;
        let shape = part.shape(&layer.shape);
        let projected = self.weights.weight_hr.is_some();
        let layout = GatesLayout::new(&layer.cell, &shape, projected);
        let d_y = self.d_y(program, part);
        let d_gates = program.temporary("d.gates", &[layout.len]);
        program.push(RecurrentBackward {
            cell: layer.cell.clone(),
            shape,
            segment: part.segment(&layer.shape),
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            saved: kept.saved,
            d_y,
            lengths: layer.mode.lengths,
            d_state,
            has_d_last: layer.has_d_last || !part.is_last,
            wants_initial: layer.wants_initial || part.index > 0,
            d_gates,
        });
        let gates_len = shape.rows() * layer.gate_width();
        for direction in 0..layer.weights.len() {
            let columns = |first: usize| {
                let gates = d_gates.part(first, gates_len);
                layer.columns(gates, layer.gate_width(), direction)
            };
            let (d_x_gates, d_r) = (columns(layout.d_x), columns(layout.d_r));
            self.input_gradients(program, part, direction, d_x_gates);
            self.recurrent_weight_gradient(program, part, direction, (d_r, kept), targets);
            self.bias_gradients(program, part, direction, [d_x_gates, d_r]);
            if let Some(inner) = kept.inner.filter(|_| projected) {
                let d_h = d_gates.part(layout.d_h, shape.rows() * shape.output);
                self.projection_gradient(program, part, direction, (d_h, inner));
            }
            self.diagonal_gradient(program, part, direction, d_state);
        }
    }

    /// The gradients of bias_ih and bias_hh, which are one where `d_x_gates` and `d_r` are.
    fn bias_gradients(
        &self,
        program: &mut Program,
        part: &Part,
        direction: usize,
        [d_x_gates, d_r]: [Matrix; 2],
    ) {
        let weights = &self.layer.weights[direction];
        let [bias_ih, bias_hh] =
            [weights.bias_ih, weights.bias_hh].map(|bias| bias.and_then(|bias| bias.gradient));
        let row = |slice: Slice| slice.matrix(1, slice.len);
        let mut push = |input, output| {
            program.push(ColumnSum {
                input,
                output,
                accumulate: !part.is_last,
            });
        };
        if let (Some(first), Some(second)) = (bias_ih, bias_hh) {
            let both = Matrix {
                rows: 2,
                row_stride: second.offset.saturating_sub(first.offset),
                ..row(first)
            };
            if d_x_gates == d_r && first.tensor == second.tensor && both.row_stride >= first.len {
                return push(d_r, both);
            }
        }
        for (input, output) in [(d_x_gates, bias_ih), (d_r, bias_hh)] {
            if let Some(output) = output {
                push(input, row(output));
            }
        }
    }

    /// The gradients of weight_ih and of x.
    fn input_gradients(
        &self,
        program: &mut Program,
        part: &Part,
        direction: usize,
        d_x_gates: Matrix,
    ) {
        let x = &self.layer.x;
        let own = |all: Matrix| self.layer.rows(part, direction, all);
        let accumulate = direction > 0 || !self.is_direct();
        let Some(weight) = self.layer.weights[direction].weight_ih else {
            if let Some(d_input) = x.gradient_matrix().map(own) {
                program.push(RepeatBackward {
                    d_output: d_x_gates,
                    d_input,
                    accumulate,
                });
            }
            return;
        };
        let as_matrix = |slice: Slice| slice.matrix(self.layer.gate_width(), x.features());
        if let Some(d_weight) = weight.gradient {
            let product = Gemm::new(d_x_gates, own(x.matrix()), as_matrix(d_weight)).transpose_a();
            program.push(product.accumulate(!part.is_last));
        }
        if let Some(d_x) = x.gradient_matrix().map(own) {
            let product = Gemm::new(d_x_gates, as_matrix(weight.value), d_x);
            program.push(product.accumulate(accumulate).weights());
        }
    }

    /// d_weight_hr = Σ_t d_h_tᵀ m_t.
    fn projection_gradient(
        &self,
        program: &mut Program,
        part: &Part,
        direction: usize,
        (d_h, inner): (Slice, Slice),
    ) {
        let layer = &self.layer;
        let RecurrentShape { hidden, output, .. } = layer.shape;
        let weight = layer.weights[direction].weight_hr;
        if let Some(d_weight) = weight.and_then(|weight| weight.gradient) {
            let m = inner.part(0, d_h.len / output * hidden);
            let d_h = layer.columns(d_h, output, direction);
            let m = layer.columns(m, hidden, direction);
            let product = Gemm::new(d_h, m, d_weight.matrix(output, hidden)).transpose_a();
            program.push(product.accumulate(!part.is_last));
        }
    }

    /// d_weight_diag is left by row behind the gradients of the states.
    fn diagonal_gradient(
        &self,
        program: &mut Program,
        part: &Part,
        direction: usize,
        d_state: Slice,
    ) {
        let layer = &self.layer;
        let RecurrentShape { batch, hidden, .. } = layer.shape;
        let weight = layer.weights[direction].weight_diag;
        if let Some(output) = weight.and_then(|weight| weight.gradient) {
            let width = layer.cell.diagonals() * hidden;
            let first = layer.shape.state_offset(layer.cell.states()) + direction * batch * width;
            program.push(ColumnSum {
                input: d_state.part(first, batch * width).matrix(batch, width),
                output: output.matrix(1, width),
                accumulate: !part.is_last,
            });
        }
    }
}
