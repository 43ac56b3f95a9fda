//! One recurrent layer in a program, backward.

use super::segment::{Part, TimeSegment};
use super::{Forward, Gradients, Saved};
use crate::program::{GatesLayout, Gemm, Map, Matrix, Program, RecurrentBackward, Reduce, Slice};

impl Forward {
    /// Writes the backward pass: segment after segment, the last first. The gradients of weights add up.
    pub(in crate::lower) fn backward(&self, program: &mut Program, gradients: &Gradients) {
        if let Some(d_x) = gradients.d_x.filter(|_| !self.is_direct()) {
            // The directions come to a step in different segments.
            program.push(Map::fill_view(&[d_x.rows, d_x.columns], d_x.view(), 0.0));
        }
        let targets = self.recurrent_weight_targets(program, gradients);
        for segment in self.segments.iter().rev() {
            let saved = match self.saved.filter(|_| segment.is_last()) {
                None => self.steps(program, segment, true).1,
                saved => saved,
            };
            let saved = saved.expect("a training program keeps what its backward pass needs");
            self.segment_backward(program, segment, saved, gradients, &targets);
        }
        self.finish_recurrent_weights(program, gradients, &targets);
    }

    fn segment_backward(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        saved: Saved,
        gradients: &Gradients,
        targets: &[Option<Slice>],
    ) {
        let layer = &self.layer;
        let cell = &layer.of.cell;
        let shape = segment.shape;
        let (hidden, output) = (shape.hidden, shape.output);
        let projected = self.weights.weight_hr.is_some();
        let layout = GatesLayout::new(cell, &shape, projected);
        let d_y = self.y_of(program, segment, gradients.d_y, "d.y of a segment");
        for [all, own] in self.y_rows(segment, gradients.d_y, d_y) {
            program.push(Map::copy(&[own.rows, own.columns], all.view(), own.view()));
        }
        let d_gates = program.temporary("d.gates", &[layout.len]);
        program.push(RecurrentBackward {
            cell: cell.clone(),
            shape,
            segment: segment.place,
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            saved: saved.saved,
            d_y,
            lengths: layer.lengths,
            d_state: gradients.d_state,
            has_d_last: gradients.has_d_last || !segment.is_last(),
            wants_initial: gradients.wants_initial || segment.index > 0,
            d_gates,
        });
        let accumulate = !segment.is_last();
        let width = layer.gate_width();
        for (direction, to) in gradients.weights.iter().enumerate() {
            let part = segment.of(direction);
            let columns = |of: Slice, first: usize, width: usize| {
                part.columns(of.part(first, shape.rows() * width), width)
            };
            let d_x_gates = columns(d_gates, layout.d_x, width);
            let d_r = columns(d_gates, layout.d_r, width);
            self.input_gradients(program, part, d_x_gates, (to.weight_ih, gradients.d_x));
            if let Some(target) = targets[direction] {
                self.recurrent_weight_gradient(program, part, (d_r, saved), target);
            }
            let biases = [(d_x_gates, to.bias_ih), (d_r, to.bias_hh)];
            bias_gradients(program, biases, accumulate);
            if let (true, Some(inner), Some(d_weight)) = (projected, saved.inner, to.weight_hr) {
                // d_weight_hr = Σ_t d_h_tᵀ m_t.
                let d_h = columns(d_gates, layout.d_h, output);
                let m = columns(inner, 0, hidden);
                let product = Gemm::new(d_h, m, d_weight.matrix(output, hidden)).transpose_a();
                program.push(product.accumulate(accumulate));
            }
            if let Some(d_weight) = to.weight_diag {
                // It is there by row behind the gradients of the states.
                let (rows, width) = (shape.batch, cell.diagonals() * hidden);
                let first = layer.of.states_len() + direction * rows * width;
                let by_row = gradients.d_state.part(first, rows * width);
                let by_row = by_row.matrix(rows, width);
                program.push(Reduce::columns(by_row, &[d_weight], accumulate));
            }
        }
    }

    /// The gradients of weight_ih and of x.
    fn input_gradients(
        &self,
        program: &mut Program,
        part: Part,
        d_x_gates: Matrix,
        (d_weight, d_x): (Option<Slice>, Option<Matrix>),
    ) {
        let layer = &self.layer;
        let d_x = d_x.map(|all| part.rows(all));
        let accumulate = part.direction > 0 || !self.is_direct();
        let Some(weight) = layer.weights[part.direction].weight_ih else {
            if let Some(d_x) = d_x {
                program.push(Reduce::repeats(d_x_gates, d_x, accumulate));
            }
            return;
        };
        let as_matrix = |slice: Slice| slice.matrix(layer.gate_width(), layer.x.columns);
        if let Some(d_weight) = d_weight {
            let x = part.rows(layer.x);
            let product = Gemm::new(d_x_gates, x, as_matrix(d_weight)).transpose_a();
            program.push(product.accumulate(!part.segment.is_last()));
        }
        if let Some(d_x) = d_x {
            let product = Gemm::new(d_x_gates, as_matrix(weight), d_x);
            program.push(product.accumulate(accumulate).weights());
        }
    }
}

/// The gradients of bias_ih and bias_hh, which are one where those of x's part and of r are.
fn bias_gradients(program: &mut Program, of: [(Matrix, Option<Slice>); 2], accumulate: bool) {
    if let [(d_x_gates, Some(bias_ih)), (d_r, Some(bias_hh))] = of
        && d_x_gates == d_r
    {
        return program.push(Reduce::columns(d_r, &[bias_ih, bias_hh], accumulate));
    }
    for (input, output) in of {
        if let Some(output) = output {
            program.push(Reduce::columns(input, &[output], accumulate));
        }
    }
}
