//! The LSTM with options: [`Lstm`]'s functions where it is not plain.

use super::activation::{clip, clip_derivative};
use super::{Backward, Forward, Lstm};
use crate::Real;

/// A step's values, from the arguments of the four gates (that of o without its peephole, which needs c) and c₋.
struct Step<F> {
    input: F,
    forget: F,
    candidate: F,
    /// Before its clip.
    c_raw: F,
    c: F,
}

fn step<F: Real>(lstm: &Lstm, arguments: [F; 3], c_before: F) -> Step<F> {
    let input = lstm.gate(0).apply(arguments[0]);
    let forget = if lstm.input_forget {
        F::one() - input
    } else {
        lstm.gate(1).apply(arguments[1])
    };
    let candidate = lstm.gate(2).apply(arguments[2]);
    let c_raw = forget * c_before + input * candidate;
    Step {
        input,
        forget,
        candidate,
        c_raw,
        c: clip(c_raw, lstm.cell_clip),
    }
}

/// p_i, p_f, p_o, zeros without peepholes.
fn peepholes<F: Real>(diagonal: &[F]) -> [F; 3] {
    match diagonal {
        [input, forget, output] => [*input, *forget, *output],
        _ => [F::zero(); 3],
    }
}

pub(super) fn forward<F: Real>(lstm: &Lstm, unit: Forward<'_, F>) {
    let c_before = unit.state[1];
    let peepholes = peepholes(unit.diagonal);
    let sum = |gate: usize| unit.x[gate] + unit.r[gate];
    let arguments = [
        sum(0) + peepholes[0] * c_before,
        sum(1) + peepholes[1] * c_before,
        sum(2),
    ];
    let Step { c, .. } = step(lstm, arguments, c_before);
    let output_argument = sum(3) + peepholes[2] * c;
    unit.state[0] = lstm.gate(3).apply(output_argument) * lstm.gate(4).apply(c);
    unit.state[1] = c;
    unit.saved[..3].copy_from_slice(&arguments);
    unit.saved[3] = output_argument;
    unit.saved[4] = c_before;
}

pub(super) fn backward<F: Real>(lstm: &Lstm, unit: Backward<'_, F>) {
    let saved = unit.saved;
    let c_before = saved[4];
    let peepholes = peepholes(unit.diagonal);
    let step = step(lstm, [saved[0], saved[1], saved[2]], c_before);
    let d_h = unit.d_state[0];
    let d_output = d_h * lstm.gate(4).apply(step.c) * lstm.gate(3).derivative(saved[3]);
    let d_c = unit.d_state[1]
        + d_h * lstm.gate(3).apply(saved[3]) * lstm.gate(4).derivative(step.c)
        + d_output * peepholes[2];
    let d_c = d_c * clip_derivative(step.c_raw, lstm.cell_clip);
    let (d_i, d_f) = (d_c * step.candidate, d_c * c_before);
    let (d_i, d_f) = if lstm.input_forget {
        (d_i - d_f, F::zero())
    } else {
        (d_i, d_f * lstm.gate(1).derivative(saved[1]))
    };
    let d_i = d_i * lstm.gate(0).derivative(saved[0]);
    let d_g = d_c * step.input * lstm.gate(2).derivative(saved[2]);
    unit.d_x[..4].copy_from_slice(&[d_i, d_f, d_g, d_output]);
    unit.d_r[..4].copy_from_slice(&[d_i, d_f, d_g, d_output]);
    unit.d_state[0] = F::zero();
    unit.d_state[1] = d_c * step.forget + d_i * peepholes[0] + d_f * peepholes[1];
    if let [input, forget, output] = unit.d_diagonal {
        *input = d_i * c_before;
        *forget = d_f * c_before;
        *output = d_output * step.c;
    }
}
