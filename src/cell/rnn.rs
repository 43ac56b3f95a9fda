//! The vanilla (Elman) RNN.

use super::{Cell, WgslSource};
use crate::Real;

/// The activation of an [`Rnn`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nonlinearity {
    /// tanh
    #[default]
    Tanh,
    /// max(0, x)
    Relu,
}

/// h = act(W x + b_ih + R h₋ + b_hh) (Elman, 1990; PyTorch's `nn.RNN`). Saves h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rnn {
    /// The activation. Default: tanh.
    pub nonlinearity: Nonlinearity,
}

impl Cell for Rnn {
    fn name(&self) -> &'static str {
        match self.nonlinearity {
            Nonlinearity::Tanh => "rnn_tanh",
            Nonlinearity::Relu => "rnn_relu",
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
    fn wgsl(&self) -> WgslSource {
        match self.nonlinearity {
            Nonlinearity::Tanh => WgslSource {
                file: "shaders/cell/rnn_tanh.wgsl",
                text: include_str!("../../shaders/cell/rnn_tanh.wgsl"),
            },
            Nonlinearity::Relu => WgslSource {
                file: "shaders/cell/rnn_relu.wgsl",
                text: include_str!("../../shaders/cell/rnn_relu.wgsl"),
            },
        }
    }

    #[inline(always)]
    fn forward<F: Real>(&self, x: &[F], r: &[F], state: &mut [F], saved: &mut [F]) {
        let pre_activation = x[0] + r[0];
        state[0] = match self.nonlinearity {
            Nonlinearity::Tanh => pre_activation.tanh(),
            // Not `max`: that would turn a NaN into 0.
            Nonlinearity::Relu if pre_activation < F::zero() => F::zero(),
            Nonlinearity::Relu => pre_activation,
        };
        saved[0] = state[0];
    }

    #[inline(always)]
    fn backward<F: Real>(&self, saved: &[F], d_state: &mut [F], d_x: &mut [F], d_r: &mut [F]) {
        let h = saved[0];
        let slope = match self.nonlinearity {
            Nonlinearity::Tanh => F::one() - h * h,
            Nonlinearity::Relu if h <= F::zero() => F::zero(),
            Nonlinearity::Relu => F::one(),
        };
        d_x[0] = d_state[0] * slope;
        d_r[0] = d_x[0];
        d_state[0] = F::zero();
    }
}
