//! The global gradient norm and what scales it down.

use super::Memory;
use crate::Real;
use crate::program::ClipNorm;

/// clip = [‖gradient‖₂, min(1, max_norm / (‖gradient‖₂ + 1e-6))]
pub(super) fn clip_norm<F: Real>(op: &ClipNorm, memory: &Memory<'_, F>) {
    let squares: f64 = memory
        .read(op.gradient)
        .iter()
        .map(|g| g.to_double().powi(2))
        .sum();
    let norm = squares.sqrt();
    let mut clip = memory.write(op.clip);
    clip[0] = F::from_double(norm);
    // Written so that a NaN norm stays a NaN scale, as in PyTorch.
    let scale = op.max_norm / (norm + 1e-6);
    clip[1] = F::from_double(if scale > 1.0 { 1.0 } else { scale });
}
