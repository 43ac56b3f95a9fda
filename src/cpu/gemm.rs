//! Matrix products.

use super::memory::{Memory, matrix, matrix_mut};
use crate::Real;
use crate::program::Gemm;
use crate::threads;
use crate::trusted::product;

/// A product does about this many times the operations of other work in the same time, and needs that many more to be worth a thread.
const QUICK: usize = 16;

/// c = op(a) · op(b) (+ bias) (+ c)
pub(super) fn gemm<F: Real>(op: &Gemm, memory: &Memory<'_, F>) {
    let (a, b) = (memory.read(op.a.extent()), memory.read(op.b.extent()));
    let mut c = memory.write(op.c.extent());
    let (a, b) = (matrix(&a, op.a), matrix(&b, op.b));
    let mut c = matrix_mut(&mut c, op.c);
    let mut accumulate = op.accumulate;
    if let Some(bias) = op.bias {
        let bias = memory.read(bias);
        let bias = ndarray::aview1(&bias);
        if accumulate {
            c += &bias;
        } else {
            c.outer_iter_mut().for_each(|mut row| row.assign(&bias));
        }
        accumulate = true;
    }
    let (m, n, k) = op.dimensions();
    let parts = threads::split(2 * m * n * k / QUICK, usize::MAX);
    product(
        if op.transpose_a { a.reversed_axes() } else { a },
        if op.transpose_b { b.reversed_axes() } else { b },
        c,
        accumulate,
        parts,
    );
}
