//! The GRU with options: [`GruUnit`]'s functions where it is not plain.

use super::{Backward, Forward, GruUnit, Inner, InnerBackward, Lanes, Reset};

#[inline(always)]
pub(super) fn forward<N: Lanes>(gru: &GruUnit, unit: Forward<'_, N>) {
    let (x, r) = (unit.x, unit.r);
    let (reset, update) = (x[0] + r[0], x[1] + r[1]);
    let candidate = match gru.reset {
        Reset::After => x[2] + gru.gate(0).apply(reset) * r[2],
        Reset::Before => x[2] + r[2],
    };
    let h_before = unit.state[0];
    let z = gru.gate(1).apply(update);
    unit.state[0] = z.complement() * gru.gate(2).apply(candidate) + z * h_before;
    unit.saved[0] = reset;
    unit.saved[1] = update;
    unit.saved[2] = candidate;
    unit.saved[3] = h_before;
    if gru.reset == Reset::After {
        unit.saved[4] = r[2];
    }
}

#[inline(always)]
pub(super) fn backward<N: Lanes>(gru: &GruUnit, unit: Backward<'_, N>) {
    let saved = unit.saved;
    let (reset, update, candidate, h_before) = (saved[0], saved[1], saved[2], saved[3]);
    let (z, n) = (gru.gate(1).apply(update), gru.gate(2).apply(candidate));
    let d_h = unit.d_state[0];
    let d_n = d_h * z.complement() * gru.gate(2).derivative(candidate);
    let d_z = d_h * (h_before - n) * gru.gate(1).derivative(update);
    let (d_x, d_r) = (unit.d_x, unit.d_r);
    (d_x[1], d_r[1]) = (d_z, d_z);
    d_x[2] = d_n;
    match gru.reset {
        Reset::After => {
            d_x[0] = d_n * saved[4] * gru.gate(0).derivative(reset);
            d_r[2] = d_n * gru.gate(0).apply(reset);
        }
        // The reset gate's is what the gradient of r⊙h₋ brings.
        Reset::Before => {
            d_x[0] = d_h.zero();
            d_r[2] = d_n;
        }
    }
    d_r[0] = d_x[0];
    unit.d_state[0] = d_h * z;
}

/// r⊙h₋
#[inline(always)]
pub(super) fn inner<N: Lanes>(gru: &GruUnit, unit: Inner<'_, N>) -> N {
    gru.gate(0).apply(unit.x[0] + unit.r[0]) * unit.state[0]
}

#[inline(always)]
pub(super) fn inner_backward<N: Lanes>(gru: &GruUnit, unit: InnerBackward<'_, N>) {
    let (reset, h_before) = (unit.saved[0], unit.saved[3]);
    let d_reset = unit.d_inner * h_before * gru.gate(0).derivative(reset);
    unit.d_x[0] += d_reset;
    unit.d_r[0] += d_reset;
    unit.d_state[0] += unit.d_inner * gru.gate(0).apply(reset);
}
