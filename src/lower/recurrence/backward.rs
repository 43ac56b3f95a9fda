//! One recurrent layer in a program, backward.

use super::segment::TimeSegment;
use super::{Forward, Gradients, Saved};
use crate::program::{
    GatesLayout, Gemm, Map, Matrix, Program, RecurrentBackward, RecurrentShape, Reduce, Slice,
};

impl Forward {
    /// Writes the backward pass: segment after segment, the last first. The gradients of weights add up.
    pub(in crate::lower) fn backward(&self, program: &mut Program, gradients: &Gradients) {
        if let Some(d_x) = gradients.d_x.filter(|_| !self.is_direct()) {
            // The directions come to a step in different segments.
            program.push(Map::fill_view(&[d_x.rows, d_x.columns], d_x.view(), 0.0));
        }
        let targets = self.recurrent_weight_targets(program, gradients);
        for segment in self.segments.iter().rev() {
            let saved = match self.saved.filter(|_| segment.is_last) {
                None => self.steps(program, segment, (true, true)),
                saved => saved,
            };
            let saved = saved.expect("a training program keeps what its backward pass needs");
            self.segment_backward(program, segment, saved, gradients, &targets);
        }
        self.finish_recurrent_weights(program, gradients, &targets);
    }

    /// The gradient of y of a segment's steps, `[T, B, D, P]`.
    fn d_y(&self, program: &mut Program, segment: &TimeSegment, d_y: Slice) -> Slice {
        let layer = &self.layer;
        if self.is_direct() {
            return self.direct(segment, d_y);
        }
        let shape = segment.shape(layer.shape());
        let own = program.temporary("d.y of a segment", &[shape.rows() * shape.output]);
        for direction in 0..shape.directions {
            let all = layer.columns(d_y, shape.output, direction);
            let from = layer.rows(segment, direction, all);
            let to = layer.columns(own, shape.output, direction);
            program.push(Map::copy(&[to.rows, to.columns], from.view(), to.view()));
        }
        own
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
        let shape = segment.shape(layer.shape());
        let projected = self.weights.weight_hr.is_some();
        let layout = GatesLayout::new(&layer.of.cell, &shape, projected);
        let d_y = self.d_y(program, segment, gradients.d_y);
        let d_gates = program.temporary("d.gates", &[layout.len]);
        program.push(RecurrentBackward {
            cell: layer.of.cell.clone(),
            shape,
            segment: segment.place(layer.shape()),
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            saved: saved.saved,
            d_y,
            lengths: layer.lengths,
            d_state: gradients.d_state,
            has_d_last: gradients.has_d_last || !segment.is_last,
            wants_initial: gradients.wants_initial || segment.index > 0,
            d_gates,
        });
        let gates_len = shape.rows() * layer.gate_width();
        for (direction, to) in gradients.weights.iter().enumerate() {
            let columns = |first: usize| {
                let gates = d_gates.part(first, gates_len);
                layer.columns(gates, layer.gate_width(), direction)
            };
            let (d_x_gates, d_r) = (columns(layout.d_x), columns(layout.d_r));
            let d_weight = to.weight_ih;
            self.input_gradients(
                program,
                segment,
                direction,
                d_x_gates,
                (d_weight, gradients.d_x),
            );
            self.recurrent_weight_gradient(program, segment, direction, (d_r, saved), targets);
            let biases = [(d_x_gates, to.bias_ih), (d_r, to.bias_hh)];
            self.bias_gradients(program, segment, biases);
            if let (Some(inner), Some(d_weight)) = (saved.inner.filter(|_| projected), to.weight_hr)
            {
                let d_h = d_gates.part(layout.d_h, shape.rows() * shape.output);
                self.projection_gradient(program, segment, direction, (d_h, inner), d_weight);
            }
            if let Some(d_weight) = to.weight_diag {
                self.diagonal_gradient(program, segment, direction, gradients.d_state, d_weight);
            }
        }
    }

    /// The gradients of bias_ih and bias_hh, which are one where those of x's part and of r are.
    fn bias_gradients(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        of: [(Matrix, Option<Slice>); 2],
    ) {
        let accumulate = !segment.is_last;
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

    /// The gradients of weight_ih and of x.
    fn input_gradients(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        direction: usize,
        d_x_gates: Matrix,
        (d_weight, d_x): (Option<Slice>, Option<Matrix>),
    ) {
        let layer = &self.layer;
        let own = |all: Matrix| layer.rows(segment, direction, all);
        let accumulate = direction > 0 || !self.is_direct();
        let Some(weight) = layer.weights[direction].weight_ih else {
            if let Some(d_input) = d_x.map(own) {
                program.push(Reduce::repeats(d_x_gates, d_input, accumulate));
            }
            return;
        };
        let as_matrix = |slice: Slice| slice.matrix(layer.gate_width(), layer.x.columns);
        if let Some(d_weight) = d_weight {
            let product = Gemm::new(d_x_gates, own(layer.x), as_matrix(d_weight)).transpose_a();
            program.push(product.accumulate(!segment.is_last));
        }
        if let Some(d_x) = d_x.map(own) {
            let product = Gemm::new(d_x_gates, as_matrix(weight), d_x);
            program.push(product.accumulate(accumulate).weights());
        }
    }

    /// d_weight_hr = Σ_t d_h_tᵀ m_t.
    fn projection_gradient(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        direction: usize,
        (d_h, inner): (Slice, Slice),
        d_weight: Slice,
    ) {
        let layer = &self.layer;
        let RecurrentShape { hidden, output, .. } = *layer.shape();
        let m = inner.part(0, d_h.len / output * hidden);
        let d_h = layer.columns(d_h, output, direction);
        let m = layer.columns(m, hidden, direction);
        let product = Gemm::new(d_h, m, d_weight.matrix(output, hidden)).transpose_a();
        program.push(product.accumulate(!segment.is_last));
    }

    /// d_weight_diag is there by row behind the gradients of the states.
    fn diagonal_gradient(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        direction: usize,
        d_state: Slice,
        d_weight: Slice,
    ) {
        let layer = &self.layer;
        let RecurrentShape { batch, hidden, .. } = *layer.shape();
        let width = layer.of.cell.diagonals() * hidden;
        let first = layer.of.states_len() + direction * batch * width;
        let by_row = d_state.part(first, batch * width).matrix(batch, width);
        program.push(Reduce::columns(by_row, &[d_weight], !segment.is_last));
    }
}
