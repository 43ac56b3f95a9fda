//! The gradient of a layer's recurrent weights.

use super::segment::Part;
use super::{Forward, Gradients, Saved};
use crate::program::{Gemm, Map, Matrix, Operand, Program, Slice, View};

/// The gradients of r `[rows, G·H]` of some steps, and what entered these steps' product, `[rows, P]`.
type Term = (Matrix, Matrix);

impl Forward {
    /// Where each direction's gradient adds up; with DropConnect that of the masked weight comes first.
    pub(super) fn recurrent_weight_targets(
        &self,
        program: &mut Program,
        gradients: &Gradients,
    ) -> Vec<Option<Slice>> {
        let mut target = |gradient: Slice| match self.weight_mask {
            Some(_) => program.temporary("d.masked weight_hh", &[gradient.len]),
            None => gradient,
        };
        let gradients = gradients.weights.iter().map(|weights| weights.weight_hh);
        gradients.map(|of| of.map(&mut target)).collect()
    }

    /// With DropConnect, from the gradients of the masked weights to those of the weights.
    pub(super) fn finish_recurrent_weights(
        &self,
        program: &mut Program,
        gradients: &Gradients,
        targets: &[Option<Slice>],
    ) {
        let Some(mask) = self.weight_mask else { return };
        for (direction, weights) in gradients.weights.iter().enumerate() {
            if let (Some(target), Some(gradient)) = (targets[direction], weights.weight_hh) {
                let len = target.len;
                let factor = mask.part(direction * len, len).matrix(1, len);
                let (input, output) = (target.matrix(1, len), gradient.matrix(1, len));
                program.push(Map::multiply(input, factor, output));
            }
        }
    }

    /// d_weight_hh = Σ_t d_r_tᵀ (what entered the product at t), d_r: `[T·B, G·H]`.
    pub(super) fn recurrent_weight_gradient(
        &self,
        program: &mut Program,
        part: Part,
        (d_r, saved): (Matrix, Saved),
        target: Slice,
    ) {
        let layer = &self.layer;
        let (segment, shape) = (part.segment, part.segment.shape);
        let (hidden, output) = (shape.hidden, shape.output);
        let before = self.before(program, part, d_r);
        // v, of the same step.
        let inner = saved.inner.map(|inner| {
            let inner = inner.part(0, shape.rows() * hidden);
            (d_r, part.columns(inner, hidden))
        });
        let (early, gates) = (layer.of.cell.early_gates(), layer.of.cell.gates());
        let d_weight = target.matrix(layer.gate_width(), output);
        for (gates, terms) in [(0..early, &before[..]), (early..gates, inner.as_slice())] {
            // Each gate has a mask of its own.
            let together = self.mask.map_or(gates.len(), |_| 1);
            for gate in gates.step_by(together.max(1)) {
                let (at, width) = (gate * hidden, together * hidden);
                let d_weight = d_weight.rows(at, width);
                let mut accumulate = !segment.is_last();
                for (d_r, input) in terms {
                    let input = self.masked(program, part.direction, gate, *input);
                    let product = Gemm::new(d_r.columns(at, width), input, d_weight).transpose_a();
                    program.push(product.accumulate(accumulate));
                    accumulate = true;
                }
                if !accumulate {
                    program.push(Map::fill(d_weight.extent(), 0.0));
                }
            }
        }
    }

    /// What entered a gate's product, under the gate's mask.
    fn masked(
        &self,
        program: &mut Program,
        direction: usize,
        gate: usize,
        input: Matrix,
    ) -> Matrix {
        let Some(mask) = self.mask else { return input };
        let (batch, columns) = (self.layer.of.shape.batch, input.columns);
        let all = self.layer.of.cell.gates() * columns;
        let mask = mask.part(direction * batch * all, batch * all);
        let mask = mask.matrix(batch, all).columns(gate * columns, columns);
        let masked = program.temporary("masked", &[input.rows, columns]);
        let masked = masked.matrix(input.rows, columns);
        program.push(Map::multiply(input, mask, masked));
        masked
    }

    /// The gates that take h₋: y one step earlier in the direction's order, and at its first step the initial state.
    fn before(&self, program: &mut Program, part: Part, d_r: Matrix) -> Vec<Term> {
        let layer = &self.layer;
        let shape = part.segment.shape;
        let (batch, output) = (shape.batch, shape.output);
        let is_first = part.segment.place.first == 0;
        let first = self.first_rows(program, part, d_r);
        let mut terms = vec![];
        // The steps before which there is another in this direction's order.
        let count = shape.steps - usize::from(is_first);
        if count > 0 {
            let (later, before) = match (part.direction, is_first) {
                (0, true) => (1, 0),
                (0, false) => (0, part.start() - 1),
                _ => (0, part.start() + 1),
            };
            // In the reverse direction y one step past a row's last is 0, and adds nothing here.
            let y = part.columns(layer.y, output);
            let rows = |of: Matrix, first: usize| of.rows(first * batch, count * batch);
            terms.push((rows(d_r, later), rows(y, before)));
        }
        if let (Some(initial), Some(first)) = (layer.initial, first) {
            let h = initial.part(part.direction * batch * output, batch * output);
            let h = h.matrix(batch, output);
            let lengths = layer.lengths;
            let h = lengths.map_or(h, |lengths| of_rows_with_steps(program, h, lengths));
            terms.push((first, h));
        }
        terms
    }

    /// d_r `[B, G·H]` of the direction's first steps, where the initial states were read; none of them may be in the segment.
    fn first_rows(&self, program: &mut Program, part: Part, d_r: Matrix) -> Option<Matrix> {
        let layer = &self.layer;
        let shape = part.segment.shape;
        let batch = shape.batch;
        layer.initial?;
        match layer.lengths {
            // The reverse direction starts at each row's own last step.
            Some(lengths) if part.direction == 1 => {
                let output = program.temporary("d.r of first steps", &[batch, d_r.columns]);
                let output = output.matrix(batch, d_r.columns);
                program.push(Map::gather_last(d_r, lengths, part.start(), output));
                Some(output)
            }
            _ if part.segment.place.first > 0 => None,
            _ if part.direction == 0 => Some(d_r.rows(0, batch)),
            _ => Some(d_r.rows((shape.steps - 1) * batch, batch)),
        }
    }
}

/// Initial states `[B, P]` with zeros where a row has no step: what is there, a NaN too, has no effect, and a product with a gradient of 0
/// would have.
fn of_rows_with_steps(program: &mut Program, h: Matrix, lengths: Slice) -> Matrix {
    let shape = [h.rows, h.columns];
    let valid = program.temporary("h0 of rows with steps", &shape);
    let valid = valid.matrix(h.rows, h.columns);
    let has_steps = View::new(lengths, [1, 0]);
    let operands = vec![Operand::Float(h.view()), Operand::Whole(has_steps)];
    program.push(Map::new(
        "valid",
        &shape,
        operands,
        vec![valid.view()],
        |tape| {
            let length = tape.whole_operand(1);
            let zero = tape.constant(0.0);
            vec![tape.whole(0).less(length, tape.operand(0), zero)]
        },
    ));
    valid
}
