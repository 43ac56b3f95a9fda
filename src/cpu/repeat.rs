//! Rows repeated side by side.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::Repeat;
use ndarray::{ArrayView1, s};

/// output\[m, r·N + n\] = input\[m, n\] (+ bias\[r·N + n\])
pub(super) fn repeat<F: Real>(op: &Repeat, memory: &Memory<'_, F>) {
    let input = memory.read(op.input.extent());
    let input = matrix(&input, op.input);
    let bias = op.bias.map(|bias| memory.read(bias));
    let mut output = memory.write(op.output.extent());
    let mut output = matrix_mut(&mut output, op.output);
    let width = op.input.columns;
    for first in (0..op.output.columns).step_by(width) {
        output
            .slice_mut(s![.., first..first + width])
            .assign(&input);
    }
    if let Some(bias) = bias {
        output += &ArrayView1::from(&bias[..]);
    }
}
