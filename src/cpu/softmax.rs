//! Softmax over rows.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::Softmax;
use ndarray::{ArrayView1, ArrayViewMut1, Zip};

/// output = softmax(input), row by row
pub(super) fn softmax<F: Real>(op: &Softmax, memory: &Memory<'_, F>) {
    let input = memory.read(op.input.extent());
    let mut output = memory.write(op.output.extent());
    Zip::from(matrix(&input, op.input).rows())
        .and(matrix_mut(&mut output, op.output).rows_mut())
        .for_each(|input, output| softmax_row(input, output));
}

/// e^(x − max) / Σ e^(x − max)
fn softmax_row<F: Real>(input: ArrayView1<'_, F>, mut output: ArrayViewMut1<'_, F>) {
    let largest = input.fold(F::neg_infinity(), |largest, x| largest.max(*x));
    Zip::from(&mut output)
        .and(input)
        .for_each(|y, x| *y = (*x - largest).exp());
    let sum = output.sum();
    output.mapv_inplace(|y| y / sum);
}
