//! The gradient of a layer's recurrent weights.

use super::layer::Trace;
use crate::program::{Fill, GatherLast, Gemm, Matrix, Multiply, Program, RecurrentShape, Slice};
use std::ops::Range;

/// What entered some gates' product: `[T·B, P]`.
#[derive(Clone, Copy)]
enum Source {
    /// h₋: y one step earlier in the direction's order, and at its first step the initial state.
    Before,
    /// v, of the same step.
    Inner,
}

impl Trace {
    /// d_weight_hh = Σ_t d_r_tᵀ (what entered the product at t), d_r: `[T·B, G·H]`.
    pub(super) fn recurrent_weight_gradient(
        &self,
        program: &mut Program,
        direction: usize,
        d_r: Matrix,
    ) {
        let layer = &self.layer;
        let Some(gradient) = layer.weights[direction].weight_hh.gradient else {
            return;
        };
        let (rows, output) = (layer.gate_width(), layer.shape.output);
        // With DropConnect the gradient of the masked weight first.
        let target = match self.weight_mask {
            Some(_) => program.temporary("d.masked weight_hh", &[rows * output]),
            None => gradient,
        };
        let d_weight = target.matrix(rows, output);
        let first = self.first_rows(program, direction, d_r);
        let (early, gates) = (layer.cell.early_gates(), layer.cell.gates());
        for (gates, source) in [(0..early, Source::Before), (early..gates, Source::Inner)] {
            match self.mask {
                None => self.products(program, direction, d_r, first, d_weight, (gates, source)),
                // Each gate has a mask of its own.
                Some(_) => {
                    for gate in gates {
                        let gate = (gate..gate + 1, source);
                        self.products(program, direction, d_r, first, d_weight, gate);
                    }
                }
            }
        }
        if let Some(mask) = self.weight_mask {
            let len = rows * output;
            program.push(Multiply {
                input: target.matrix(1, len),
                factor: mask.part(direction * len, len).matrix(1, len),
                output: gradient.matrix(1, len),
            });
        }
    }

    /// d_r `[B, G·H]` of the direction's first steps, where the initial states were read.
    fn first_rows(&self, program: &mut Program, direction: usize, d_r: Matrix) -> Option<Matrix> {
        let layer = &self.layer;
        let RecurrentShape { steps, batch, .. } = layer.shape;
        layer.initial?;
        let width = layer.gate_width();
        Some(match layer.mode.lengths {
            _ if direction == 0 => d_r.rows(0, batch),
            None => d_r.rows((steps - 1) * batch, batch),
            // The reverse direction starts at each row's own last step.
            Some(lengths) => {
                let output = program.temporary("d.r of first steps", &[batch, width]);
                let output = output.matrix(batch, width);
                program.push(GatherLast {
                    input: d_r,
                    lengths,
                    output,
                });
                output
            }
        })
    }

    /// The products for some gates, whose d_r are columns and whose weights are rows.
    fn products(
        &self,
        program: &mut Program,
        direction: usize,
        d_r: Matrix,
        first: Option<Matrix>,
        d_weight: Matrix,
        (gates, source): (Range<usize>, Source),
    ) {
        if gates.is_empty() {
            return;
        }
        let layer = &self.layer;
        let RecurrentShape {
            steps,
            batch,
            hidden,
            output,
            ..
        } = layer.shape;
        let (at, width) = (gates.start * hidden, gates.len() * hidden);
        let d_r = d_r.columns(at, width);
        let d_weight = d_weight.rows(at, width);
        let masked = |program: &mut Program, input: Matrix| match self.mask {
            None => input,
            Some(mask) => {
                let all = layer.cell.gates() * output;
                let mask = mask.part(direction * batch * all, batch * all);
                let result = program.temporary("masked", &[input.rows, output]);
                let result = result.matrix(input.rows, output);
                program.push(Multiply {
                    input,
                    factor: mask
                        .matrix(batch, all)
                        .columns(gates.start * output, output),
                    output: result,
                });
                result
            }
        };
        if let (Source::Inner, Some(inner)) = (source, self.inner) {
            let inner = masked(program, layer.columns(inner, hidden, direction));
            program.push(Gemm::new(d_r, inner, d_weight).transpose_a());
            return;
        }
        let rows = (steps - 1) * batch;
        let (later, earlier) = if direction == 0 {
            (batch, 0)
        } else {
            (0, batch)
        };
        if steps > 1 {
            // In the reverse direction y one step past a row's last is 0, and adds nothing here.
            let y = layer.columns(layer.y.slice, output, direction);
            let y = masked(program, y.rows(earlier, rows));
            program.push(Gemm::new(d_r.rows(later, rows), y, d_weight).transpose_a());
        }
        match (layer.initial, first) {
            (Some(initial), Some(first)) => {
                let h0 = self.initial_h(initial, direction);
                let h0 = masked(program, h0);
                let product = Gemm::new(first.columns(at, width), h0, d_weight).transpose_a();
                program.push(product.accumulate(steps > 1));
            }
            _ if steps == 1 => program.push(Fill {
                target: d_weight.extent(),
                value: 0.0,
            }),
            _ => {}
        }
    }

    /// `[B, P]`
    fn initial_h(&self, initial: Slice, direction: usize) -> Matrix {
        let RecurrentShape { batch, output, .. } = self.layer.shape;
        initial
            .part(direction * batch * output, batch * output)
            .matrix(batch, output)
    }
}
