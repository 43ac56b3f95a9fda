//! Stochastic gradient descent.

use super::Memory;
use crate::Real;
use crate::program::Sgd;

/// g += decay·p; v = momentum·v + g; p −= lr·(g, or v, or g + momentum·v)
pub(super) fn sgd<F: Real>(op: &Sgd, memory: &Memory<'_, F>) {
    let scalars = memory.read(op.scalars);
    let (rate, momentum, decay) = (scalars[0], scalars[1], scalars[2]);
    let clip = op.clip.map_or(F::one(), |clip| memory.read(clip)[1]);
    let gradient = memory.read(op.gradient);
    let mut parameter = memory.write(op.parameter);
    let mut velocity = op.momentum.map(|velocity| memory.write(velocity));
    for (index, (p, g)) in parameter.iter_mut().zip(&*gradient).enumerate() {
        let g = *g * clip + decay * *p;
        let step = match &mut velocity {
            None => g,
            Some(velocity) => {
                let v = &mut velocity[index];
                *v = momentum * *v + g;
                if op.nesterov { g + momentum * *v } else { *v }
            }
        };
        *p -= rate * step;
    }
}
