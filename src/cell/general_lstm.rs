//! The LSTM with options: [`LstmUnit`]'s functions where it is not plain.

use super::activation::{clip, clip_derivative};
use super::{Backward, Forward, Lanes, LstmUnit};

/// A step's values, from the arguments of the four gates (that of o without its peephole, which
/// needs c) and c₋.
struct StepValues<N> {
    input: N,
    forget: N,
    candidate: N,
    /// The cell state before its clip.
    c_raw: N,
    c: N,
}

#[inline(always)]
fn step<N: Lanes>(lstm: &LstmUnit, arguments: [N; 3], c_before: N) -> StepValues<N> {
    let input = lstm.gate(0).apply(arguments[0]);
    let forget = if lstm.input_forget {
        input.complement()
    } else {
        lstm.gate(1).apply(arguments[1])
    };
    let candidate = lstm.gate(2).apply(arguments[2]);
    let c_raw = forget * c_before + input * candidate;
    StepValues {
        input,
        forget,
        candidate,
        c_raw,
        c: clip(c_raw, lstm.cell_clip),
    }
}

/// argument + p c, p being the peephole of one of i, f and o.
#[inline(always)]
fn peep<N: Lanes>(argument: N, diagonal: &[N], gate: usize, c: N) -> N {
    match diagonal.get(gate) {
        Some(peephole) => argument + *peephole * c,
        None => argument,
    }
}

#[inline(always)]
pub(super) fn forward<N: Lanes>(lstm: &LstmUnit, unit: Forward<'_, N>) {
    let c_before = unit.state[1];
    let arguments = [
        peep(unit.x[0] + unit.r[0], unit.diagonal, 0, c_before),
        peep(unit.x[1] + unit.r[1], unit.diagonal, 1, c_before),
        unit.x[2] + unit.r[2],
    ];
    let StepValues { c, .. } = step(lstm, arguments, c_before);
    let output_argument = peep(unit.x[3] + unit.r[3], unit.diagonal, 2, c);
    unit.state[0] = lstm.gate(3).apply(output_argument) * lstm.gate(4).apply(c);
    unit.state[1] = c;
    unit.saved[..3].copy_from_slice(&arguments);
    unit.saved[3] = output_argument;
    unit.saved[4] = c_before;
}

#[inline(always)]
pub(super) fn backward<N: Lanes>(lstm: &LstmUnit, unit: Backward<'_, N>) {
    let saved = unit.saved;
    let c_before = saved[4];
    let step = step(lstm, [saved[0], saved[1], saved[2]], c_before);
    let d_h = unit.d_state[0];
    let d_output = d_h * lstm.gate(4).apply(step.c) * lstm.gate(3).derivative(saved[3]);
    let d_c =
        unit.d_state[1] + d_h * lstm.gate(3).apply(saved[3]) * lstm.gate(4).derivative(step.c);
    let d_c = peep(d_c, unit.diagonal, 2, d_output);
    let d_c = d_c * clip_derivative(step.c_raw, lstm.cell_clip);
    let (d_i, d_f) = (d_c * step.candidate, d_c * c_before);
    let (d_i, d_f) = if lstm.input_forget {
        (d_i - d_f, d_i.zero())
    } else {
        (d_i, d_f * lstm.gate(1).derivative(saved[1]))
    };
    let d_i = d_i * lstm.gate(0).derivative(saved[0]);
    let d_g = d_c * step.input * lstm.gate(2).derivative(saved[2]);
    unit.d_x[..4].copy_from_slice(&[d_i, d_f, d_g, d_output]);
    unit.d_r[..4].copy_from_slice(&[d_i, d_f, d_g, d_output]);
    unit.d_state[0] = d_h.zero();
    let d_c_before = peep(d_c * step.forget, unit.diagonal, 0, d_i);
    unit.d_state[1] = peep(d_c_before, unit.diagonal, 1, d_f);
    if let [input, forget, output] = unit.d_diagonal {
        *input = d_i * c_before;
        *forget = d_f * c_before;
        *output = d_output * step.c;
    }
}
