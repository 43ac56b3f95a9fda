//! Squared error.

use super::Memory;
use crate::Real;
use crate::program::Mse;

/// loss += weight · scale · Σ (prediction − target)², gradient = 2 · scale · (prediction − target)
pub(super) fn mse<F: Real>(op: &Mse, memory: &Memory<'_, F>) {
    let (prediction, target) = (memory.read(op.prediction), memory.read(op.target));
    // The sum is taken in f64: over a long batch f32 would lose digits.
    let sum: f64 = prediction
        .iter()
        .zip(&*target)
        .map(|(p, t)| (*p - *t).to_double().powi(2))
        .sum();
    memory.write(op.loss)[0] += F::from_double(op.loss_weight * op.scale * sum);
    if let Some(gradient) = op.gradient {
        let slope = F::from_double(2.0 * op.scale);
        let mut gradient = memory.write(gradient);
        for ((gradient, p), t) in gradient.iter_mut().zip(&*prediction).zip(&*target) {
            *gradient = slope * (*p - *t);
        }
    }
}
