//! Cross-entropy of softmax and class numbers.

use super::Memory;
use super::memory::{matrix, matrix_mut};
use crate::Real;
use crate::program::SoftmaxCrossEntropy;

/// loss += weight · Σ over rows of w (log Σ e^x − x\[class\]), gradient = w (softmax(x) − onehot(class)), w being 1/M or the row's weight
pub(super) fn softmax_cross_entropy<F: Real>(op: &SoftmaxCrossEntropy, memory: &Memory<'_, F>) {
    let logits = memory.read(op.logits.extent());
    let classes = memory.read(op.classes);
    let logits = matrix(&logits, op.logits);
    let mut gradient = op.gradient.map(|gradient| memory.write(gradient.extent()));
    let mut gradient = gradient
        .as_mut()
        .zip(op.gradient)
        .map(|(elements, view)| matrix_mut(elements, view));
    let mean = F::one() / F::from_double(logits.nrows() as f64);
    let weights = op.row_weights.map(|weights| memory.read(weights));
    let mut total = 0.0;
    for (index, (x, class)) in logits.rows().into_iter().zip(&*classes).enumerate() {
        let weight = weights.as_ref().map_or(mean, |weights| weights[index]);
        if weight == F::zero() {
            // Left out, whatever it holds.
            if let Some(gradient) = &mut gradient {
                gradient.row_mut(index).fill(F::zero());
            }
            continue;
        }
        let largest = x.fold(F::neg_infinity(), |largest, x| largest.max(*x));
        let sum = x.fold(F::zero(), |sum, x| sum + (*x - largest).exp());
        // A class outside gives NaN.
        let class = Some(*class).filter(|class| *class >= F::zero());
        let class = class.and_then(|class| class.to_usize());
        let class = class.filter(|class| *class < x.len());
        let chosen = class.map_or(F::nan(), |class| x[class]);
        total += weight.to_double() * (sum.ln() - (chosen - largest)).to_double();
        if let Some(gradient) = &mut gradient {
            for (column, (d_x, x)) in gradient.row_mut(index).iter_mut().zip(x).enumerate() {
                let target = match class {
                    None => F::nan(),
                    Some(class) if class == column => F::one(),
                    Some(_) => F::zero(),
                };
                *d_x = ((*x - largest).exp() / sum - target) * weight;
            }
        }
    }
    memory.write(op.loss)[0] += F::from_double(op.loss_weight * total);
}
