//! The vanilla (Elman) RNN.

use super::activation::{Gate, check_clip, constants};
use super::plain::{Plain, PlainCell};
use super::{Activation, Backward, Cell, Forward, Lanes, WgslSource};
use crate::CellRef;
use crate::error::Result;

/// h = act(W x + b_ih + R h₋ + b_hh) (Elman, 1990; PyTorch's `nn.RNN`; ONNX' `RNN`).
///
/// Saves h with tanh and ReLU, else the pre-activation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RnnUnit {
    /// The activation. Default: tanh.
    pub activation: Activation,
    /// Holds the pre-activation to ± this (ONNX' `clip`). Default: no.
    pub clip: Option<f64>,
}

impl RnnUnit {
    fn gate(&self) -> Gate {
        Gate {
            activation: self.activation,
            clip: self.clip,
        }
    }
}

impl Cell for RnnUnit {
    fn name(&self) -> &'static str {
        match (self.activation, self.clip) {
            (Activation::Tanh, None) => "rnn_tanh",
            (Activation::Relu, None) => "rnn_relu",
            _ => "general_rnn",
        }
    }
    fn gates(&self) -> usize {
        1
    }
    fn states(&self) -> usize {
        1
    }
    fn saved(&self) -> usize {
        1
    }
    fn shared_gradient(&self) -> bool {
        true
    }
    fn wgsl(&self) -> Option<WgslSource> {
        Some(crate::wgsl!("shaders/cell/general_rnn.wgsl"))
    }
    fn wgsl_constants(&self) -> String {
        constants([self.gate()])
    }
    fn check(&self) -> Result<()> {
        self.activation.check("activation")?;
        check_clip("clip", self.clip)
    }

    fn fastest(&self) -> Option<CellRef> {
        (self.name() != "general_rnn").then(|| Plain::share(*self))
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let pre_activation = unit.x[0] + unit.r[0];
        unit.saved[0] = pre_activation;
        unit.state[0] = self.gate().apply(pre_activation);
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        unit.d_x[0] = unit.d_state[0] * self.gate().derivative(unit.saved[0]);
        unit.d_r[0] = unit.d_x[0];
        unit.d_state[0] = unit.d_x[0].zero();
    }
}

/// With ReLU or else tanh; saves h.
impl PlainCell for RnnUnit {
    const SAVED: usize = 1;

    fn plain_wgsl(&self) -> WgslSource {
        match self.activation {
            Activation::Relu => crate::wgsl!("shaders/cell/rnn_relu.wgsl"),
            _ => crate::wgsl!("shaders/cell/rnn_tanh.wgsl"),
        }
    }

    #[inline(always)]
    fn forward_plain<N: Lanes>(&self, unit: Forward<'_, N>) {
        let pre_activation = unit.x[0] + unit.r[0];
        unit.state[0] = match self.activation {
            Activation::Relu => {
                pre_activation.where_positive(pre_activation, pre_activation.zero())
            }
            _ => pre_activation.tanh(),
        };
        unit.saved[0] = unit.state[0];
    }

    #[inline(always)]
    fn backward_plain<N: Lanes>(&self, unit: Backward<'_, N>) {
        let (d_h, h) = (unit.d_state[0], unit.saved[0]);
        unit.d_x[0] = match self.activation {
            // The gradient of max(0, x) at 0 is 0, as in PyTorch.
            Activation::Relu => h.where_positive(d_h, h.zero()),
            _ => d_h * (h * h).complement(),
        };
        unit.d_r[0] = unit.d_x[0];
        unit.d_state[0] = d_h.zero();
    }
}
