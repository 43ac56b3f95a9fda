//! A matrix times another, element by element.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::Multiply;

/// output\[m, n\] = input\[m, n\] · factor\[m mod K, n\]
pub(super) fn multiply<F: Real>(op: &Multiply, memory: &Memory<'_, F>) {
    let input = memory.read(op.input.extent());
    let input = matrix(&input, op.input);
    let factor = memory.read(op.factor.extent());
    let factor = matrix(&factor, op.factor);
    let mut output = memory.write(op.output.extent());
    let mut output = matrix_mut(&mut output, op.output);
    for (row, mut output) in output.rows_mut().into_iter().enumerate() {
        output.assign(&(&input.row(row) * &factor.row(row % op.factor.rows)));
    }
}
