//! Rows added up by their index.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::program::Scatter;
use crate::rows::RowScalar;

/// output\[v\] = Σ over the n with indices\[n\] = v of input\[n\] (+ output\[v\])
pub(super) fn scatter<F: RowScalar>(op: &Scatter, memory: &Memory<'_, F>) {
    let input = memory.read(op.input.extent());
    let input = matrix(&input, op.input);
    let indices = memory.wholes(op.indices);
    let mut output = memory.write(op.output.extent());
    let mut output = matrix_mut(&mut output, op.output);
    if !op.accumulate {
        output.fill(F::zero());
    }
    for (row, index) in input.rows().into_iter().zip(indices) {
        if index < output.nrows() {
            let mut sum = output.row_mut(index);
            sum += &row;
        }
    }
}
