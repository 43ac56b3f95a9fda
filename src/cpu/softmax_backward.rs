//! The gradient of softmax.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::SoftmaxBackward;
use ndarray::Zip;

/// d_input = y ⊙ (d_y − Σ_row y ⊙ d_y)
pub(super) fn softmax_backward<F: Real>(op: &SoftmaxBackward, memory: &Memory<'_, F>) {
    let (y, d_y) = (
        memory.read(op.output.extent()),
        memory.read(op.d_output.extent()),
    );
    let mut d_input = memory.write(op.d_input.extent());
    Zip::from(matrix(&y, op.output).rows())
        .and(matrix(&d_y, op.d_output).rows())
        .and(matrix_mut(&mut d_input, op.d_input).rows_mut())
        .for_each(|y, d_y, d_input| {
            let mean = y.dot(&d_y);
            Zip::from(d_input)
                .and(y)
                .and(d_y)
                .for_each(|d_x, y, d_y| *d_x = *y * (*d_y - mean));
        });
}
