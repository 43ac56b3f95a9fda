//! The gated recurrent unit.

use super::activation::{Gate, check_clip, constants};
use super::plain::PlainGru;
use super::{
    Activation, Backward, Cell, CellVisitor, Forward, Inner, InnerBackward, Lanes, WgslSource,
    general_gru,
};
use crate::error::Result;

/// Where a GRU's reset gate acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// After the recurrent product: r⊙(R_n h₋ + b_hn). PyTorch, cuDNN, Keras' default, ONNX'
    /// `linear_before_reset=1`.
    #[default]
    After,
    /// Before the product: R_n(r⊙h₋) + b_hn (Cho et al., 2014). ONNX' default, Keras' `reset_after=False`. A
    /// second product a step.
    Before,
}

/// Gates r, z, n (PyTorch's order); state h (Cho et al., 2014, in the form of cuDNN and PyTorch's
/// `nn.GRU`):
///
/// ```text
/// r = σ(x_r + r_r)   z = σ(x_z + r_z)   n = tanh(x_n + r⊙r_n)   h = (1−z)⊙n + z⊙h₋
/// ```
///
/// where r_n = R_n h₋ + b_hn: the reset gate acts after the product. As such, without options, it
/// saves r, z, n, r_n, h₋.
///
/// With [`Reset::Before`], n = tanh(x_n + R_n(r⊙h₋) + b_hn). With activations or a clip of their
/// arguments (ONNX' `GRU`) the same equations hold with these; it then saves the arguments of r, z
/// and n, h₋, and (reset after) r_n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GruUnit {
    /// The activations of r, z and n. Default: σ, σ, tanh.
    pub activations: [Activation; 3],
    /// Where the reset gate acts. Default: after the product.
    pub reset: Reset,
    /// Holds the gates' arguments to ± this (ONNX' `clip`). Default: no.
    pub clip: Option<f64>,
}

impl Default for GruUnit {
    fn default() -> Self {
        use Activation::{Sigmoid, Tanh};
        Self {
            activations: [Sigmoid, Sigmoid, Tanh],
            reset: Reset::After,
            clip: None,
        }
    }
}

impl GruUnit {
    /// Whether it has no option.
    fn plain(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn gate(&self, slot: usize) -> Gate {
        Gate {
            activation: self.activations[slot],
            clip: self.clip,
        }
    }
}

impl Cell for GruUnit {
    fn name(&self) -> &'static str {
        match self.reset {
            Reset::After if self.plain() => "gru",
            Reset::After => "general_gru",
            Reset::Before => "gru_reset_before",
        }
    }
    fn gates(&self) -> usize {
        3
    }
    fn states(&self) -> usize {
        1
    }
    fn saved(&self) -> usize {
        match self.reset {
            Reset::After => 5,
            Reset::Before => 4,
        }
    }
    fn early_gates(&self) -> usize {
        match self.reset {
            Reset::After => 3,
            Reset::Before => 2,
        }
    }
    fn shared_gradient(&self) -> bool {
        self.reset == Reset::Before
    }
    fn wgsl(&self) -> Option<WgslSource> {
        Some(match self.reset {
            Reset::After => crate::wgsl!("shaders/cell/general_gru.wgsl"),
            Reset::Before => crate::wgsl!("shaders/cell/gru_reset_before.wgsl"),
        })
    }
    fn wgsl_constants(&self) -> String {
        constants((0..3).map(|slot| self.gate(slot)))
    }
    fn check(&self) -> Result<()> {
        for (activation, gate) in self.activations.iter().zip(["r", "z", "n"]) {
            activation.check(&format!("activation of {gate}"))?;
        }
        check_clip("clip", self.clip)
    }

    fn fastest<V: CellVisitor>(self, visitor: V) -> V::Output {
        if self.plain() {
            visitor.visit(PlainGru)
        } else {
            visitor.visit(self)
        }
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        general_gru::forward(self, unit);
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        general_gru::backward(self, unit);
    }

    #[inline(always)]
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        general_gru::inner(self, unit)
    }

    #[inline(always)]
    fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
        general_gru::inner_backward(self, unit);
    }
}
