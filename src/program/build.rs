//! Maps and sums that layers and gradients are written with.

use super::{Map, Matrix, Operand, Pointwise, Reduce, Row, Slice, View};
use crate::expr::{Expr, Fold, Tape, WholeExpr};
use crate::philox::threshold;
use std::borrow::Cow;
use std::sync::Arc;

impl Map {
    /// An expression of some operands, recorded on a tape, at every element of a space.
    pub fn new(
        name: &'static str,
        shape: &[usize],
        operands: Vec<Operand>,
        outputs: Vec<View>,
        record: impl for<'t> FnOnce(&'t Tape) -> Vec<Expr<'t>>,
    ) -> Self {
        let tape = Tape::new();
        let body = tape.finish(&record(&tape), &[]);
        let of = Pointwise {
            name: Cow::Borrowed(name),
            shape: shape.to_vec(),
            folded: 0,
            operands,
            body: Arc::new(body),
            elements: outputs,
            results: vec![],
        };
        Self(of.collapsed())
    }

    /// Every element is set to `value`.
    pub fn fill(target: Slice, value: f64) -> Self {
        let shape = [target.len];
        Self::fill_view(&shape, View::whole(target, &shape), value)
    }

    /// Every element of a view is set to `value`.
    pub fn fill_view(shape: &[usize], to: View, value: f64) -> Self {
        Self::new("fill", shape, vec![], vec![to], |tape| {
            vec![tape.constant(value)]
        })
    }

    /// A view copied into another.
    pub fn copy(shape: &[usize], from: View, to: View) -> Self {
        let from = vec![Operand::Float(from)];
        Self::new("copy", shape, from, vec![to], |tape| vec![tape.operand(0)])
    }

    /// output\[m, r·N + n\] = input\[m, n\] (+ bias\[r·N + n\]) for every r: a row repeated, as where a layer has no input weights.
    ///
    /// input: `[M, N]`; bias: `[R·N]`; output: `[M, R·N]`.
    pub fn repeat(input: Matrix, bias: Option<Slice>, output: Matrix) -> Self {
        let n = input.columns;
        let shape = [output.rows, output.columns / n.max(1), n];
        let from = input.strided([input.row_stride, 0, 1]);
        let bias = bias.map(|bias| View::new(bias, [0, n, 1]));
        let to = output.strided([output.row_stride, n, 1]);
        let operands = std::iter::once(from).chain(bias.clone());
        let operands = operands.map(Operand::Float).collect();
        Self::new("repeat", &shape, operands, vec![to], |tape| {
            let x = tape.operand(0);
            vec![bias.map_or(x, |_| x + tape.operand(1))]
        })
    }

    /// output\[m, n\] = input\[m, n\] · factor\[m mod K, n\].
    ///
    /// input: `[M, N]`; factor: `[K, N]`, K dividing M; output: `[M, N]`.
    pub fn multiply(input: Matrix, factor: Matrix, output: Matrix) -> Self {
        let rows = factor.rows.max(1);
        let shape = [output.rows / rows, rows, output.columns];
        let view = |of: Matrix| of.strided([of.row_stride.saturating_mul(rows), of.row_stride, 1]);
        let repeated = factor.strided([0, factor.row_stride, 1]);
        let operands = [view(input), repeated].map(Operand::Float).to_vec();
        Self::new("multiply", &shape, operands, vec![view(output)], |tape| {
            vec![tape.operand(0) * tape.operand(1)]
        })
    }

    /// A mask of dropout: each element is 0 with probability `rate`, else 1 / (1 − rate). `rng`: `[4]`, seed and step.
    pub fn mask(output: Slice, rng: Slice, site: u32, rate: f64) -> Self {
        let shape = [output.len];
        let random = Operand::Random {
            rng,
            site,
            offset: 0,
            strides: vec![1],
        };
        let to = View::whole(output, &shape);
        Self::new("mask", &shape, vec![random], vec![to], |tape| {
            vec![keep(tape, tape.whole_operand(0), rate)]
        })
    }

    /// output\[b\] = input\[length_b − 1 − first, b\], the row of the last step of each sequence; 0 for a length of 0, or where that
    /// step is none of the input's.
    ///
    /// input: `[T·B, N]`; lengths: `[B]`, whole numbers; output: `[B, N]`.
    pub fn gather_last(input: Matrix, lengths: Slice, first: usize, output: Matrix) -> Self {
        let batch = output.rows;
        let gather = Operand::Gather {
            view: input.view(),
            index: View::new(lengths, [1, 0]),
            shift: u32::try_from(first).map_or(u32::MAX, |first| first.saturating_add(1)),
            stride: batch.saturating_mul(input.row_stride),
            len: input.rows / batch.max(1),
        };
        let (shape, to) = ([batch, output.columns], vec![output.view()]);
        Self::new("gather_last", &shape, vec![gather], to, |tape| {
            vec![tape.operand(0)]
        })
    }
}

/// A random word as dropout's factor.
pub(crate) fn keep<'t>(tape: &'t Tape, word: WholeExpr<'t>, rate: f64) -> Expr<'t> {
    let (kept, zero) = (tape.constant(1.0 / (1.0 - rate)), tape.constant(0.0));
    word.less(tape.whole(threshold(rate)), zero, kept)
}

impl Row {
    /// An expression recorded over a space whose last axis is a row.
    pub fn new(mut of: Pointwise) -> Self {
        of.folded = 1;
        Self(of.collapsed())
    }
}

impl Reduce {
    /// Sums over the last axes of a space, as many as are folded.
    pub fn new(of: Pointwise) -> Self {
        Self(of.collapsed())
    }

    /// output\[n\] = Σ_m input\[m, n\] (+ output\[n\]), for each of some outputs alike, as the two biases of a cell have one gradient.
    ///
    /// input: `[M, N]`; outputs: `[N]` each.
    pub fn columns(input: Matrix, outputs: &[Slice], accumulate: bool) -> Self {
        let view = input.strided([1, input.row_stride]);
        let to = outputs.iter().map(|to| View::new(*to, [1])).collect();
        let shape = [input.columns, input.rows];
        sums("column_sum", &shape, view, to, accumulate)
    }

    /// d_input\[m, n\] = Σ_r d_output\[m, r·N + n\] (+ d_input\[m, n\]): the gradient of [`Map::repeat`].
    ///
    /// d_output: `[M, R·N]`; d_input: `[M, N]`.
    pub fn repeats(d_output: Matrix, d_input: Matrix, accumulate: bool) -> Self {
        let n = d_input.columns;
        let view = d_output.strided([d_output.row_stride, 1, n]);
        let shape = [d_input.rows, n, d_output.columns / n.max(1)];
        sums("repeat_sum", &shape, view, vec![d_input.view()], accumulate)
    }
}

/// Sums of a view over a space along its last axis, each sum to all of some outputs.
fn sums(
    name: &'static str,
    shape: &[usize],
    view: View,
    to: Vec<View>,
    accumulate: bool,
) -> Reduce {
    let tape = Tape::new();
    let sum = tape.statistic(Fold::Sum, tape.operand(0));
    let mut operands = vec![Operand::Float(view)];
    let mut results = vec![];
    for (index, output) in to.iter().enumerate() {
        if accumulate {
            let mut before = output.clone();
            before.strides.push(0);
            operands.push(Operand::Float(before));
            results.push(sum + tape.operand(index + 1));
        } else {
            results.push(sum);
        }
    }
    Reduce::new(Pointwise {
        name: Cow::Borrowed(name),
        shape: shape.to_vec(),
        folded: 1,
        operands,
        body: Arc::new(tape.finish(&[], &results)),
        elements: vec![],
        results: to,
    })
}
