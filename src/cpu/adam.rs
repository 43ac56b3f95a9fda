//! Adam and AdamW.

use super::{Memory, threads};
use crate::Real;
use crate::program::Adam;

/// Elements of a part: what one thread takes at a time.
const PART: usize = 1 << 14;

/// g += decay·p; p *= kept; m = β₁m + (1−β₁)g; v = β₂v + (1−β₂)g²; p −= (lr/c₁)·m / (√v/√c₂ + ε)
pub(super) fn adam<F: Real>(op: &Adam, memory: &Memory<'_, F>) {
    let scalars = memory.read(op.scalars);
    let [
        rate,
        beta1,
        rest1,
        beta2,
        rest2,
        epsilon,
        correction2,
        decay,
        kept,
    ] = std::array::from_fn(|index| scalars[index]);
    let clip = op.clip.map_or(F::one(), |clip| memory.read(clip)[1]);
    let gradient = memory.read(op.gradient);
    let mut parameter = memory.write(op.parameter);
    let mut first_moment = memory.write(op.first_moment);
    let mut second_moment = memory.write(op.second_moment);
    let moments = first_moment
        .chunks_mut(PART)
        .zip(second_moment.chunks_mut(PART));
    let parts = parameter
        .chunks_mut(PART)
        .zip(gradient.chunks(PART))
        .zip(moments)
        .collect();
    // A root, two divisions and four streams from memory count more than their operations.
    threads::for_each_of(
        32 * gradient.len(),
        parts,
        |((parameter, gradient), (first, second))| {
            let moments = first.iter_mut().zip(second);
            for ((p, g), (m, v)) in parameter.iter_mut().zip(gradient).zip(moments) {
                let g = *g * clip + decay * *p;
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * g * g;
                *p = kept * *p - rate * *m / (v.sqrt() / correction2 + epsilon);
            }
        },
    );
}
