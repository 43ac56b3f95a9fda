//! The long short-term memory.

use super::activation::{Gate, check_clip, clip, clip_derivative, constants};
use super::plain::{Plain, PlainCell};
use super::{Activation, Backward, Cell, Forward, Lanes, WgslSource};
use crate::CellRef;
use crate::error::Result;

/// Gates i, f, g, o (PyTorch's order); states h, c (Hochreiter & Schmidhuber, 1997; Gers et al.,
/// 2000; PyTorch's `nn.LSTM`):
///
/// ```text
/// i = σ(x_i + r_i)   f = σ(x_f + r_f)   g = tanh(x_g + r_g)   o = σ(x_o + r_o)
/// c = f⊙c₋ + i⊙g     h = o⊙tanh(c)
/// ```
///
/// Without options it saves i, f, g, o, c₋. With any (ONNX' `LSTM`; peepholes p after Gers &
/// Schmidhuber, 2000):
///
/// ```text
/// i = act_i(x_i + r_i + p_i⊙c₋)   f = act_f(x_f + r_f + p_f⊙c₋), or 1 − i
/// g = act_g(x_g + r_g)            c = f⊙c₋ + i⊙g
/// o = act_o(x_o + r_o + p_o⊙c)    h = o⊙act_c(c)
/// ```
///
/// the arguments of i, f, g and o held to ±`clip` and c to ±`cell_clip`. It then saves the four
/// arguments and c₋.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LstmUnit {
    /// The activations of i, f, g, o and c. Default: σ, σ, tanh, σ, tanh.
    pub activations: [Activation; 5],
    /// Whether i, f and o see the cell state through `weight_diag [3·H]`: p_i, p_f, p_o. Default: no.
    pub peepholes: bool,
    /// Whether f = 1 − i (ONNX' `input_forget`; Greff et al., 2015), the weights of f having no
    /// effect. Default: no.
    pub input_forget: bool,
    /// Holds the gates' arguments to ± this (ONNX' `clip`). Default: no.
    pub clip: Option<f64>,
    /// Holds the cell state to ± this (cuDNN's and Burn's clip). Default: no.
    pub cell_clip: Option<f64>,
}

impl Default for LstmUnit {
    fn default() -> Self {
        use Activation::{Sigmoid, Tanh};
        Self {
            activations: [Sigmoid, Sigmoid, Tanh, Sigmoid, Tanh],
            peepholes: false,
            input_forget: false,
            clip: None,
            cell_clip: None,
        }
    }
}

impl LstmUnit {
    /// Slots 0 to 3 are the gates'; slot 4 is c's activation, which no clip holds.
    pub(super) fn gate(&self, slot: usize) -> Gate {
        Gate {
            activation: self.activations[slot],
            clip: self.clip.filter(|_| slot < 4),
        }
    }

    #[inline(always)]
    fn step<N: Lanes>(&self, arguments: [N; 3], c_before: N) -> StepValues<N> {
        let input = self.gate(0).apply(arguments[0]);
        let forget = if self.input_forget {
            input.complement()
        } else {
            self.gate(1).apply(arguments[1])
        };
        let candidate = self.gate(2).apply(arguments[2]);
        let c_raw = forget * c_before + input * candidate;
        StepValues {
            input,
            forget,
            candidate,
            c_raw,
            c: clip(c_raw, self.cell_clip),
        }
    }
}

impl Cell for LstmUnit {
    fn name(&self) -> &'static str {
        if *self == Self::default() {
            "lstm"
        } else {
            "general_lstm"
        }
    }
    fn gates(&self) -> usize {
        4
    }
    fn states(&self) -> usize {
        2
    }
    fn saved(&self) -> usize {
        5
    }
    fn diagonals(&self) -> usize {
        if self.peepholes { 3 } else { 0 }
    }
    fn shared_gradient(&self) -> bool {
        true
    }
    fn wgsl(&self) -> Option<WgslSource> {
        Some(crate::wgsl!("shaders/cell/general_lstm.wgsl"))
    }
    fn wgsl_constants(&self) -> String {
        format!(
            "{}const PEEPHOLES: bool = {};\nconst INPUT_FORGET: bool = {};\n\
             const HAS_CELL_CLIP: bool = {};\nconst CELL_CLIP: f32 = {:?}f;\n",
            constants((0..5).map(|slot| self.gate(slot))),
            self.peepholes,
            self.input_forget,
            self.cell_clip.is_some(),
            self.cell_clip.unwrap_or(0.0) as f32
        )
    }
    fn check(&self) -> Result<()> {
        for (activation, gate) in self.activations.iter().zip(["i", "f", "g", "o", "c"]) {
            activation.check(&format!("activation of {gate}"))?;
        }
        check_clip("clip", self.clip)?;
        check_clip("cell_clip", self.cell_clip)
    }

    fn fastest(&self) -> Option<CellRef> {
        (*self == Self::default()).then(|| Plain::share(*self))
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let c_before = unit.state[1];
        let arguments = [
            peep(unit.x[0] + unit.r[0], unit.diagonal, 0, c_before),
            peep(unit.x[1] + unit.r[1], unit.diagonal, 1, c_before),
            unit.x[2] + unit.r[2],
        ];
        let StepValues { c, .. } = self.step(arguments, c_before);
        let output_argument = peep(unit.x[3] + unit.r[3], unit.diagonal, 2, c);
        unit.state[0] = self.gate(3).apply(output_argument) * self.gate(4).apply(c);
        unit.state[1] = c;
        unit.saved[..3].copy_from_slice(&arguments);
        unit.saved[3] = output_argument;
        unit.saved[4] = c_before;
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let saved = unit.saved;
        let c_before = saved[4];
        let step = self.step([saved[0], saved[1], saved[2]], c_before);
        let d_h = unit.d_state[0];
        let d_output = d_h * self.gate(4).apply(step.c) * self.gate(3).derivative(saved[3]);
        let d_c =
            unit.d_state[1] + d_h * self.gate(3).apply(saved[3]) * self.gate(4).derivative(step.c);
        let d_c = peep(d_c, unit.diagonal, 2, d_output);
        let d_c = d_c * clip_derivative(step.c_raw, self.cell_clip);
        let (d_i, d_f) = (d_c * step.candidate, d_c * c_before);
        let (d_i, d_f) = if self.input_forget {
            (d_i - d_f, d_i.zero())
        } else {
            (d_i, d_f * self.gate(1).derivative(saved[1]))
        };
        let d_i = d_i * self.gate(0).derivative(saved[0]);
        let d_g = d_c * step.input * self.gate(2).derivative(saved[2]);
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
}

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

/// argument + p c, p being the peephole of one of i, f and o.
#[inline(always)]
fn peep<N: Lanes>(argument: N, diagonal: &[N], gate: usize, c: N) -> N {
    match diagonal.get(gate) {
        Some(peephole) => argument + *peephole * c,
        None => argument,
    }
}

impl PlainCell for LstmUnit {
    const SAVED: usize = 5;

    fn plain_wgsl(&self) -> WgslSource {
        crate::wgsl!("shaders/cell/lstm.wgsl")
    }

    #[inline(always)]
    fn forward_plain<N: Lanes>(&self, unit: Forward<'_, N>) {
        let (x, r) = (unit.x, unit.r);
        let input = (x[0] + r[0]).sigmoid();
        let forget = (x[1] + r[1]).sigmoid();
        let candidate = (x[2] + r[2]).tanh();
        let output = (x[3] + r[3]).sigmoid();
        let c_before = unit.state[1];
        let c = forget * c_before + input * candidate;
        unit.state[0] = output * c.tanh();
        unit.state[1] = c;
        unit.saved[..5].copy_from_slice(&[input, forget, candidate, output, c_before]);
    }

    #[inline(always)]
    fn backward_plain<N: Lanes>(&self, unit: Backward<'_, N>) {
        let saved = unit.saved;
        let (input, forget, candidate, output, c_before) =
            (saved[0], saved[1], saved[2], saved[3], saved[4]);
        let tanh_c = (forget * c_before + input * candidate).tanh();
        let d_h = unit.d_state[0];
        let d_c = unit.d_state[1] + d_h * output * (tanh_c * tanh_c).complement();
        let d_x = unit.d_x;
        d_x[0] = d_c * candidate * input * input.complement();
        d_x[1] = d_c * c_before * forget * forget.complement();
        d_x[2] = d_c * input * (candidate * candidate).complement();
        d_x[3] = d_h * tanh_c * output * output.complement();
        unit.d_r[..4].copy_from_slice(&d_x[..4]);
        unit.d_state[0] = d_h.zero();
        unit.d_state[1] = d_c * forget;
    }
}
