//! The last steps of sequences of different lengths.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::GatherLast;

/// output\[b\] = input\[length_b − 1 − first, b\], or 0
pub(super) fn gather_last<F: Real>(op: &GatherLast, memory: &Memory<'_, F>) {
    let lengths = memory.lengths(op.lengths);
    let input = memory.read(op.input.extent());
    let input = matrix(&input, op.input);
    let mut output = memory.write(op.output.extent());
    let mut output = matrix_mut(&mut output, op.output);
    for (row, length) in lengths.iter().enumerate() {
        let last = length.checked_sub(1 + op.first);
        match last.filter(|last| last * lengths.len() < input.nrows()) {
            Some(last) => output
                .row_mut(row)
                .assign(&input.row(last * lengths.len() + row)),
            None => output.row_mut(row).fill(F::zero()),
        }
    }
}
