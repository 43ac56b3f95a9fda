//! The gradient of a layer's recurrent weights.

use super::segment::TimeSegment;
use super::{Forward, Gradients, Saved};
use crate::program::{Gemm, Map, Matrix, Program, RecurrentShape, Slice};
use std::ops::Range;

/// What entered some gates' product: `[T·B, P]`.
#[derive(Clone, Copy)]
enum Source {
    /// h₋: y one step earlier in the direction's order, and at its first step the initial state.
    Before,
    /// v, of the same step.
    Inner,
}

/// A segment's gradients of r `[T·B, G·H]` of a direction, and where they lead.
struct OfProducts {
    d_r: Matrix,
    /// Those of the direction's first steps, `[B, G·H]`, where the initial states were read.
    first: Option<Matrix>,
    /// `[G·H, P]`
    d_weight: Matrix,
    saved: Saved,
}

impl Forward {
    /// Where each direction's gradient adds up; with DropConnect that of the masked weight comes first.
    pub(super) fn recurrent_weight_targets(
        &self,
        program: &mut Program,
        gradients: &Gradients,
    ) -> Vec<Option<Slice>> {
        let len = self.layer.gate_width() * self.layer.shape().output;
        let mut target = |gradient| match self.weight_mask {
            Some(_) => program.temporary("d.masked weight_hh", &[len]),
            None => gradient,
        };
        let weights = gradients.weights.iter();
        weights
            .map(|weights| weights.weight_hh.map(&mut target))
            .collect()
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
        segment: &TimeSegment,
        direction: usize,
        (d_r, saved): (Matrix, Saved),
        targets: &[Option<Slice>],
    ) {
        let layer = &self.layer;
        let Some(target) = targets[direction] else {
            return;
        };
        let gradients = OfProducts {
            d_r,
            first: self.first_rows(program, segment, direction, d_r),
            d_weight: target.matrix(layer.gate_width(), layer.shape().output),
            saved,
        };
        let (early, gates) = (layer.of.cell.early_gates(), layer.of.cell.gates());
        for (gates, source) in [(0..early, Source::Before), (early..gates, Source::Inner)] {
            match self.mask {
                None => self.products(program, segment, direction, &gradients, (gates, source)),
                // Each gate has a mask of its own.
                Some(_) => {
                    for gate in gates {
                        let gate = (gate..gate + 1, source);
                        self.products(program, segment, direction, &gradients, gate);
                    }
                }
            }
        }
    }

    /// d_r `[B, G·H]` of the direction's first steps, where the initial states were read; none of them may be in the segment.
    fn first_rows(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        direction: usize,
        d_r: Matrix,
    ) -> Option<Matrix> {
        let layer = &self.layer;
        let RecurrentShape { batch, .. } = *layer.shape();
        layer.initial?;
        match layer.lengths {
            // The reverse direction starts at each row's own last step.
            Some(lengths) if direction == 1 => {
                let width = layer.gate_width();
                let output = program.temporary("d.r of first steps", &[batch, width]);
                let output = output.matrix(batch, width);
                let start = segment.place(layer.shape()).start(segment.steps, direction);
                program.push(Map::gather_last(d_r, lengths, start, output));
                Some(output)
            }
            _ if segment.first > 0 => None,
            _ if direction == 0 => Some(d_r.rows(0, batch)),
            _ => Some(d_r.rows((segment.steps - 1) * batch, batch)),
        }
    }

    /// The products for some gates, whose d_r are columns and whose weights are rows.
    fn products(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        direction: usize,
        gradients: &OfProducts,
        (gates, source): (Range<usize>, Source),
    ) {
        if gates.is_empty() {
            return;
        }
        let layer = &self.layer;
        let RecurrentShape {
            batch,
            hidden,
            output,
            ..
        } = *layer.shape();
        let (at, width) = (gates.start * hidden, gates.len() * hidden);
        let d_r = gradients.d_r.columns(at, width);
        let d_weight = gradients.d_weight.rows(at, width);
        let masked = |program: &mut Program, input: Matrix| match self.mask {
            None => input,
            Some(mask) => {
                let all = layer.of.cell.gates() * output;
                let mask = mask.part(direction * batch * all, batch * all);
                let result = program.temporary("masked", &[input.rows, output]);
                let result = result.matrix(input.rows, output);
                let factor = mask
                    .matrix(batch, all)
                    .columns(gates.start * output, output);
                program.push(Map::multiply(input, factor, result));
                result
            }
        };
        if let (Source::Inner, Some(inner)) = (source, gradients.saved.inner) {
            let rows = segment.shape(layer.shape()).rows();
            let inner = layer.columns(inner.part(0, rows * hidden), hidden, direction);
            let inner = masked(program, inner);
            let product = Gemm::new(d_r, inner, d_weight).transpose_a();
            program.push(product.accumulate(!segment.is_last));
            return;
        }
        let mut accumulate = !segment.is_last;
        // The steps before which there is another in this direction's order.
        let steps = segment.steps - usize::from(segment.first == 0);
        if steps > 0 {
            let start = segment.place(layer.shape()).start(segment.steps, direction);
            let (later, before) = match (direction, segment.first) {
                (0, 0) => (1, 0),
                (0, _) => (0, start - 1),
                _ => (0, start + 1),
            };
            // In the reverse direction y one step past a row's last is 0, and adds nothing here.
            let y = layer.columns(layer.y, output, direction);
            let y = masked(program, y.rows(before * batch, steps * batch));
            let d_r = d_r.rows(later * batch, steps * batch);
            let product = Gemm::new(d_r, y, d_weight).transpose_a();
            program.push(product.accumulate(accumulate));
            accumulate = true;
        }
        if let (Some(initial), Some(first)) = (layer.initial, gradients.first) {
            let h0 = self.initial_h(initial, direction);
            let h0 = masked(program, h0);
            let product = Gemm::new(first.columns(at, width), h0, d_weight).transpose_a();
            program.push(product.accumulate(accumulate));
            accumulate = true;
        }
        if !accumulate {
            program.push(Map::fill(d_weight.extent(), 0.0));
        }
    }

    /// `[B, P]`
    fn initial_h(&self, initial: Slice, direction: usize) -> Matrix {
        let RecurrentShape { batch, output, .. } = *self.layer.shape();
        initial
            .part(direction * batch * output, batch * output)
            .matrix(batch, output)
    }
}
