//! Every operation on every device against the CPU path in f64, at sizes that divide nothing, outputs poisoned first.

#[path = "../common/mod.rs"]
mod common;

mod functions;
mod gemm;
mod gemm_half;
mod hostile;
mod kept;
mod long_sums;
mod map;
mod program;
mod random;
mod recurrent_backward;
mod recurrent_forward;
mod reduce;
mod row;
mod scatter;
mod wholes;

use bptt::expr::{Body, Expr, Tape};
use bptt::program::{Operand, Pointwise, Slice, View};
use std::sync::Arc;

/// Element counts around registers, workgroups and blocks.
const LENS: [usize; 7] = [1, 3, 7, 17, 33, 65, 257];

/// Expressions of elements and of rows.
type Outputs<'t> = (Vec<Expr<'t>>, Vec<Expr<'t>>);

fn body(record: impl for<'t> FnOnce(&'t Tape) -> Outputs<'t>) -> Arc<Body> {
    let tape = Tape::new();
    let (elements, results) = record(&tape);
    Arc::new(tape.finish(&elements, &results))
}

/// An expression over a space whose last axis is a row, with outputs of its own shape.
fn rows(
    shape: &[usize],
    operands: Vec<Operand>,
    elements: &[Slice],
    results: &[Slice],
    record: impl for<'t> FnOnce(&'t Tape) -> Outputs<'t>,
) -> Pointwise {
    let kept = &shape[..shape.len() - 1];
    Pointwise {
        name: "test".into(),
        shape: shape.to_vec(),
        folded: 1,
        operands,
        body: body(record),
        elements: elements.iter().map(|to| View::whole(*to, shape)).collect(),
        results: results.iter().map(|to| View::whole(*to, kept)).collect(),
    }
}

/// An operand that is all of a slice.
fn whole(slice: Slice, shape: &[usize]) -> Operand {
    Operand::Float(View::whole(slice, shape))
}

/// An operand with strides of its own.
fn strided(slice: Slice, strides: &[usize]) -> Operand {
    Operand::Float(View::new(slice, strides))
}
