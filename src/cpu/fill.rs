//! Constants.

use super::Memory;
use crate::Real;
use crate::program::Fill;

/// target = value
pub(super) fn fill<F: Real>(op: &Fill, memory: &Memory<'_, F>) {
    memory
        .write(op.target)
        .fill(F::from_double(f64::from(op.value)));
}
