//! Squared error.

use super::{Memory, threads};
use crate::Real;
use crate::program::Mse;

/// Elements that one thread takes at a time.
const PART: usize = 1 << 14;

/// loss += weight · scale · Σ w (prediction − target)², gradient = 2 · scale · w (prediction − target), w being the row's weight
pub(super) fn mse<F: Real>(op: &Mse, memory: &Memory<'_, F>) {
    let (prediction, target) = (memory.read(op.prediction), memory.read(op.target));
    let weights = op.row_weights.map(|weights| memory.read(weights));
    let one = [F::one()];
    let weights: &[F] = weights.as_deref().unwrap_or(&one);
    let width = prediction.len().div_ceil(weights.len().max(1)).max(1);
    let mut gradient = op.gradient.map(|gradient| memory.write(gradient));
    let slope = F::from_double(2.0 * op.scale);
    let mut gradients = gradient.as_mut().map(|gradient| gradient.chunks_mut(PART));
    let mut sums = vec![0.0; prediction.len().div_ceil(PART)];
    let parts = sums
        .iter_mut()
        .enumerate()
        .map(|(part, sum)| {
            let gradient = gradients.as_mut().and_then(Iterator::next);
            (part * PART, sum, gradient)
        })
        .collect();
    // Parts are the same for any number of threads, and so is the order in which their sums are added.
    threads::for_each_of(8 * prediction.len(), parts, |(start, sum, mut gradient)| {
        let end = (start + PART).min(prediction.len());
        let mut at = start;
        while at < end {
            let row = at / width;
            let (weight, part) = (weights[row], at..end.min((row + 1) * width));
            let inside = part.start - start..part.end - start;
            at = part.end;
            let (prediction, target) = (&prediction[part.clone()], &target[part]);
            let gradient = gradient.as_mut().map(|gradient| &mut gradient[inside]);
            // A weight of 0 leaves its row out, whatever it holds.
            if weight == F::zero() {
                gradient.into_iter().for_each(|d| d.fill(F::zero()));
                continue;
            }
            *sum += weight.to_double() * squares(prediction, target);
            for (d, (p, t)) in gradient
                .into_iter()
                .flatten()
                .zip(prediction.iter().zip(target))
            {
                *d = slope * weight * (*p - *t);
            }
        }
    });
    let sum: f64 = sums.iter().sum();
    memory.write(op.loss)[0] += F::from_double(op.loss_weight * op.scale * sum);
}

/// Σ (prediction − target)², in f64, as over a long batch f32 would lose digits; in several sums, which vector instructions take.
fn squares<F: Real>(prediction: &[F], target: &[F]) -> f64 {
    const SUMS: usize = 16;
    let square = |p: F, t: F| (p - t).to_double() * (p - t).to_double();
    let mut sums = [0.0; SUMS];
    let (p, p_rest) = prediction.as_chunks::<SUMS>();
    let (t, t_rest) = target.as_chunks::<SUMS>();
    for (p, t) in p.iter().zip(t) {
        for (sum, (p, t)) in sums.iter_mut().zip(p.iter().zip(t)) {
            *sum += square(*p, *t);
        }
    }
    let rest = p_rest.iter().zip(t_rest).map(|(p, t)| square(*p, *t));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}
