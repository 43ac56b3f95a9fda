//! The gated recurrent unit.

use super::activation::{Gate, check_clip, constants};
use super::plain::{Plain, PlainCell};
use super::{Activation, Backward, Cell, Forward, Inner, InnerBackward, Lanes, WgslSource};
use crate::CellRef;
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
            Reset::After if *self == Self::default() => "gru",
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

    fn fastest(&self) -> Option<CellRef> {
        (*self == Self::default()).then(|| Plain::share(*self))
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let (x, r) = (unit.x, unit.r);
        let (reset, update) = (x[0] + r[0], x[1] + r[1]);
        let candidate = match self.reset {
            Reset::After => x[2] + self.gate(0).apply(reset) * r[2],
            Reset::Before => x[2] + r[2],
        };
        let h_before = unit.state[0];
        let z = self.gate(1).apply(update);
        unit.state[0] = z.complement() * self.gate(2).apply(candidate) + z * h_before;
        unit.saved[..4].copy_from_slice(&[reset, update, candidate, h_before]);
        if self.reset == Reset::After {
            unit.saved[4] = r[2];
        }
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let saved = unit.saved;
        let (reset, update, candidate, h_before) = (saved[0], saved[1], saved[2], saved[3]);
        let (z, n) = (self.gate(1).apply(update), self.gate(2).apply(candidate));
        let d_h = unit.d_state[0];
        let d_n = d_h * z.complement() * self.gate(2).derivative(candidate);
        let d_z = d_h * (h_before - n) * self.gate(1).derivative(update);
        let (d_x, d_r) = (unit.d_x, unit.d_r);
        (d_x[1], d_r[1]) = (d_z, d_z);
        d_x[2] = d_n;
        match self.reset {
            Reset::After => {
                d_x[0] = d_n * saved[4] * self.gate(0).derivative(reset);
                d_r[2] = d_n * self.gate(0).apply(reset);
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
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        self.gate(0).apply(unit.x[0] + unit.r[0]) * unit.state[0]
    }

    #[inline(always)]
    fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
        let (reset, h_before) = (unit.saved[0], unit.saved[3]);
        let d_reset = unit.d_inner * h_before * self.gate(0).derivative(reset);
        unit.d_x[0] += d_reset;
        unit.d_r[0] += d_reset;
        unit.d_state[0] += unit.d_inner * self.gate(0).apply(reset);
    }
}

impl PlainCell for GruUnit {
    const SAVED: usize = 5;

    fn plain_wgsl(&self) -> WgslSource {
        crate::wgsl!("shaders/cell/gru.wgsl")
    }

    #[inline(always)]
    fn forward_plain<N: Lanes>(&self, unit: Forward<'_, N>) {
        let (x, r) = (unit.x, unit.r);
        let reset = (x[0] + r[0]).sigmoid();
        let update = (x[1] + r[1]).sigmoid();
        let candidate = (x[2] + reset * r[2]).tanh();
        let h_before = unit.state[0];
        unit.state[0] = update.complement() * candidate + update * h_before;
        unit.saved[..5].copy_from_slice(&[reset, update, candidate, r[2], h_before]);
    }

    #[inline(always)]
    fn backward_plain<N: Lanes>(&self, unit: Backward<'_, N>) {
        let saved = unit.saved;
        let (reset, update, candidate, r_n, h_before) =
            (saved[0], saved[1], saved[2], saved[3], saved[4]);
        let d_h = unit.d_state[0];
        let d_n = d_h * update.complement() * (candidate * candidate).complement();
        let (d_x, d_r) = (unit.d_x, unit.d_r);
        d_x[0] = d_n * r_n * reset * reset.complement();
        d_x[1] = d_h * (h_before - candidate) * update * update.complement();
        d_x[2] = d_n;
        d_r[0] = d_x[0];
        d_r[1] = d_x[1];
        d_r[2] = d_n * reset;
        unit.d_state[0] = d_h * update;
    }
}
