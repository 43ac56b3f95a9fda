//! Options of one cell.

use super::config::Recurrent;
use crate::cell::{Activation, GruUnit, LstmUnit, Reset, RnnUnit};

impl Recurrent<RnnUnit> {
    /// The activation. Default: tanh; PyTorch's other is ReLU.
    pub fn nonlinearity(mut self, activation: Activation) -> Self {
        self.cell.activation = activation;
        self
    }

    /// Holds the pre-activation to ±`bound` (ONNX' `clip`). Default: no.
    pub fn clip(mut self, bound: f64) -> Self {
        self.cell.clip = Some(bound);
        self
    }
}

impl Recurrent<LstmUnit> {
    /// Sets the forget gate's bias to a constant (in `bias_ih`, and `bias_hh`'s to 0), commonly 1 (Jozefowicz et al., 2015; Keras).
    /// Default: drawn like the others, as in PyTorch.
    pub fn forget_bias(mut self, value: f32) -> Self {
        self.options.forget_bias = Some(value);
        self
    }

    /// P, 1 to below H: h = W_hr (o⊙act(c)) with `weight_hr [P, H]` (Sak et al., 2014; PyTorch's `proj_size`). h, y and what layers above
    /// read are then P wide, c stays H. 0 is none, the default.
    pub fn proj_size(mut self, proj_size: usize) -> Self {
        self.options.proj_size = (proj_size > 0).then_some(proj_size);
        self
    }

    /// Whether the gates see the cell state, through `weight_diag [3·H]`: of i and f (which see c₋) and o (which sees c) (Gers &
    /// Schmidhuber, 2000; ONNX' `P`, there in the order i, o, f). Default: no.
    pub fn peepholes(mut self, peepholes: bool) -> Self {
        self.cell.peepholes = peepholes;
        self
    }

    /// Whether f = 1 − i (ONNX' `input_forget`). Default: no.
    pub fn input_forget(mut self, input_forget: bool) -> Self {
        self.cell.input_forget = input_forget;
        self
    }

    /// The activations of i, f, g, o and of c. Default: σ, σ, tanh, σ, tanh.
    pub fn activations(mut self, activations: [Activation; 5]) -> Self {
        self.cell.activations = activations;
        self
    }

    /// Holds the gates' pre-activations to ±`bound` (ONNX' `clip`). Default: no.
    pub fn clip(mut self, bound: f64) -> Self {
        self.cell.clip = Some(bound);
        self
    }

    /// Holds the cell state to ±`bound` (cuDNN's and Burn's clip). Default: no.
    pub fn cell_clip(mut self, bound: f64) -> Self {
        self.cell.cell_clip = Some(bound);
        self
    }
}

impl Recurrent<GruUnit> {
    /// Whether the reset gate acts after the recurrent product (PyTorch, cuDNN, ONNX' `linear_before_reset`) or before it (ONNX' default,
    /// Keras' `reset_after=False`). Default: after.
    pub fn reset_after(mut self, reset_after: bool) -> Self {
        self.cell.reset = match reset_after {
            true => Reset::After,
            false => Reset::Before,
        };
        self
    }

    /// The activations of r, z and n. Default: σ, σ, tanh.
    pub fn activations(mut self, activations: [Activation; 3]) -> Self {
        self.cell.activations = activations;
        self
    }

    /// Holds the gates' pre-activations to ±`bound` (ONNX' `clip`). Default: no.
    pub fn clip(mut self, bound: f64) -> Self {
        self.cell.clip = Some(bound);
        self
    }
}
