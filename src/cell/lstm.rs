//! The long short-term memory.

use super::activation::{Gate, check_clip, constants};
use super::plain::PlainLstm;
use super::{Activation, Backward, Cell, CellVisitor, Forward, Lanes, WgslSource, general_lstm};
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
    /// Whether it has no option.
    fn plain(&self) -> bool {
        *self == Self::default()
    }

    /// Slots 0 to 3 are the gates'; slot 4 is c's activation, which no clip holds.
    pub(super) fn gate(&self, slot: usize) -> Gate {
        Gate {
            activation: self.activations[slot],
            clip: self.clip.filter(|_| slot < 4),
        }
    }
}

impl Cell for LstmUnit {
    fn name(&self) -> &'static str {
        if self.plain() { "lstm" } else { "general_lstm" }
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

    fn fastest<V: CellVisitor>(self, visitor: V) -> V::Output {
        if self.plain() {
            visitor.visit(PlainLstm)
        } else {
            visitor.visit(self)
        }
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        general_lstm::forward(self, unit);
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        general_lstm::backward(self, unit);
    }
}
