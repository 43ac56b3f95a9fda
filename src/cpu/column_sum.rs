//! Sums of columns.

use super::memory::matrix;
use super::{Memory, threads};
use crate::Real;
use crate::program::ColumnSum;
use ndarray::{Array1, Axis, s};

/// Columns that one thread sums at a time.
const COLUMNS: usize = 256;

/// output\[r, n\] = Σ_m input\[m, n\] (+ output\[0, n\])
pub(super) fn column_sum<F: Real>(op: &ColumnSum, memory: &Memory<'_, F>) {
    let input = memory.read(op.input.extent());
    let mut outputs = memory.write(op.output.extent());
    let (output, copies) = outputs.split_at_mut(op.output.columns);
    if !op.accumulate {
        output.fill(F::zero());
    }
    let input = matrix(&input, op.input);
    let parts = output.chunks_mut(COLUMNS).enumerate().collect();
    // Reading from memory is what takes the time: four operations' worth a number.
    threads::for_each_of(4 * input.len(), parts, |(part, output): (_, &mut [F])| {
        let first = part * COLUMNS;
        let input = input.slice(s![.., first..first + output.len()]);
        let mut sums = Array1::zeros(output.len());
        // Blocks of rows bound the rounding error that one long sum in f32 would gather.
        for block in input.axis_chunks_iter(Axis(0), 256) {
            sums.fill(F::zero());
            block.rows().into_iter().for_each(|row| sums += &row);
            output
                .iter_mut()
                .zip(&sums)
                .for_each(|(total, sum)| *total += *sum);
        }
    });
    // The last row's end is that of the extent.
    let stride = op.output.row_stride;
    for row in 1..op.output.rows {
        let at = row * stride - output.len();
        copies[at..at + output.len()].copy_from_slice(output);
    }
}
