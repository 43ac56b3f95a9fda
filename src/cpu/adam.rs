//! Adam and AdamW.

use super::Memory;
use crate::Real;
use crate::program::Adam;

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
    let moments = first_moment.iter_mut().zip(second_moment.iter_mut());
    for ((p, g), (m, v)) in parameter.iter_mut().zip(&*gradient).zip(moments) {
        let g = *g * clip + decay * *p;
        *m = beta1 * *m + rest1 * g;
        *v = beta2 * *v + rest2 * g * g;
        *p = kept * *p - rate * *m / (v.sqrt() / correction2 + epsilon);
    }
}
