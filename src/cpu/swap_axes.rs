//! Time-major to batch-major and back.

use super::Memory;
use super::recurrent::{view, view_mut};
use crate::Real;
use crate::program::SwapAxes;

/// output\[b, a, n\] = input\[a, b, n\]
pub(super) fn swap_axes<F: Real>(op: &SwapAxes, memory: &Memory<'_, F>) {
    let [a, b, n] = op.shape;
    let input = memory.read(op.input);
    let mut output = memory.write(op.output);
    let swapped = view(&input, (a, b, n)).permuted_axes([1, 0, 2]);
    view_mut(&mut output, (b, a, n)).assign(&swapped);
}
