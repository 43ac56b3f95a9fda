//! Sums of columns.

use super::Memory;
use super::memory::matrix;
use crate::Real;
use crate::program::ColumnSum;
use ndarray::Axis;

/// output\[n\] = Σ_m input\[m, n\] (+ output\[n\])
pub(super) fn column_sum<F: Real>(op: &ColumnSum, memory: &Memory<'_, F>) {
    let input = memory.read(op.input.extent());
    let mut output = memory.write(op.output);
    if !op.accumulate {
        output.fill(F::zero());
    }
    // Blocks of rows bound the rounding error that one long sum in f32 would gather.
    for block in matrix(&input, op.input).axis_chunks_iter(Axis(0), 256) {
        let sums = block.sum_axis(Axis(0));
        output
            .iter_mut()
            .zip(&sums)
            .for_each(|(total, sum)| *total += *sum);
    }
}
