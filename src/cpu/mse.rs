//! Squared error.

use super::Memory;
use crate::Real;
use crate::program::Mse;

/// loss += weight · scale · Σ w (prediction − target)², gradient = 2 · scale · w (prediction − target), w being the row's weight
pub(super) fn mse<F: Real>(op: &Mse, memory: &Memory<'_, F>) {
    let (prediction, target) = (memory.read(op.prediction), memory.read(op.target));
    let weights = op.row_weights.map(|weights| memory.read(weights));
    let weights: &[F] = weights.as_deref().unwrap_or(&[]);
    let width = prediction.len() / weights.len().max(1);
    // A weight of 0 leaves its row out, whatever it holds.
    let difference = |index: usize| match weights.get(index / width.max(1)) {
        Some(weight) if *weight == F::zero() => (F::zero(), F::zero()),
        Some(weight) => (prediction[index] - target[index], *weight),
        None => (prediction[index] - target[index], F::one()),
    };
    // The sum is taken in f64: over a long batch f32 would lose digits.
    let square = |(difference, weight): (F, F)| weight.to_double() * difference.to_double().powi(2);
    let sum: f64 = (0..prediction.len()).map(|i| square(difference(i))).sum();
    memory.write(op.loss)[0] += F::from_double(op.loss_weight * op.scale * sum);
    if let Some(gradient) = op.gradient {
        let slope = F::from_double(2.0 * op.scale);
        for (index, gradient) in memory.write(gradient).iter_mut().enumerate() {
            let (difference, weight) = difference(index);
            *gradient = slope * weight * difference;
        }
    }
}
