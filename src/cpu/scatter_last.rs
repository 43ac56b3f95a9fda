//! The gradient of the last steps of sequences of different lengths.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::ScatterLast;

/// d_input\[length_b − 1, b\] = d_output\[b\], else 0
pub(super) fn scatter_last<F: Real>(op: &ScatterLast, memory: &Memory<'_, F>) {
    let lengths = memory.lengths(op.lengths);
    let d_output = memory.read(op.d_output.extent());
    let d_output = matrix(&d_output, op.d_output);
    let mut d_input = memory.write(op.d_input.extent());
    let mut d_input = matrix_mut(&mut d_input, op.d_input);
    d_input.fill(F::zero());
    for (row, length) in lengths.iter().enumerate() {
        if let Some(last) = length.checked_sub(1) {
            d_input
                .row_mut(last * lengths.len() + row)
                .assign(&d_output.row(row));
        }
    }
}
