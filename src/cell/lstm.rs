//! The long short-term memory.

use super::{Cell, WgslSource};
use crate::Real;

/// Gates i, f, g, o (PyTorch's order); states h, c (Hochreiter & Schmidhuber, 1997; Gers et al., 2000; PyTorch's `nn.LSTM`):
///
/// ```text
/// i = σ(x_i + r_i)   f = σ(x_f + r_f)   g = tanh(x_g + r_g)   o = σ(x_o + r_o)
/// c = f⊙c₋ + i⊙g     h = o⊙tanh(c)
/// ```
///
/// Saves i, f, g, o, c₋.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lstm;

impl Cell for Lstm {
    fn name(&self) -> &'static str {
        "lstm"
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
    fn shared_gradient(&self) -> bool {
        true
    }
    fn wgsl(&self) -> WgslSource {
        WgslSource {
            file: "shaders/cell/lstm.wgsl",
            text: include_str!("../../shaders/cell/lstm.wgsl"),
        }
    }

    #[inline(always)]
    fn forward<F: Real>(&self, x: &[F], r: &[F], state: &mut [F], saved: &mut [F]) {
        let input = (x[0] + r[0]).sigmoid();
        let forget = (x[1] + r[1]).sigmoid();
        let candidate = (x[2] + r[2]).tanh();
        let output = (x[3] + r[3]).sigmoid();
        let c_before = state[1];
        let c = forget * c_before + input * candidate;
        state[0] = output * c.tanh();
        state[1] = c;
        saved[0] = input;
        saved[1] = forget;
        saved[2] = candidate;
        saved[3] = output;
        saved[4] = c_before;
    }

    #[inline(always)]
    fn backward<F: Real>(&self, saved: &[F], d_state: &mut [F], d_x: &mut [F], d_r: &mut [F]) {
        let one = F::one();
        let (input, forget, candidate, output, c_before) =
            (saved[0], saved[1], saved[2], saved[3], saved[4]);
        let tanh_c = (forget * c_before + input * candidate).tanh();
        let d_h = d_state[0];
        let d_c = d_state[1] + d_h * output * (one - tanh_c * tanh_c);
        d_x[0] = d_c * candidate * input * (one - input);
        d_x[1] = d_c * c_before * forget * (one - forget);
        d_x[2] = d_c * input * (one - candidate * candidate);
        d_x[3] = d_h * tanh_c * output * (one - output);
        d_r[..4].copy_from_slice(&d_x[..4]);
        d_state[0] = F::zero();
        d_state[1] = d_c * forget;
    }
}
