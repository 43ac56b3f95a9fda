//! The gradient of rows repeated side by side.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::RepeatBackward;
use ndarray::s;

/// d_input\[m, n\] = Σ_r d_output\[m, r·N + n\] (+ d_input\[m, n\])
pub(super) fn repeat_backward<F: Real>(op: &RepeatBackward, memory: &Memory<'_, F>) {
    let d_output = memory.read(op.d_output.extent());
    let d_output = matrix(&d_output, op.d_output);
    let mut d_input = memory.write(op.d_input.extent());
    let mut d_input = matrix_mut(&mut d_input, op.d_input);
    if !op.accumulate {
        d_input.fill(F::zero());
    }
    let width = op.d_input.columns;
    for first in (0..op.d_output.columns).step_by(width) {
        d_input += &d_output.slice(s![.., first..first + width]);
    }
}
