//! The gated recurrent unit, reset gate after the recurrent product.

use super::{Cell, WgslSource};
use crate::Real;

/// Gates r, z, n (PyTorch's order); state h (Cho et al., 2014, in the form of cuDNN and PyTorch's `nn.GRU`):
///
/// ```text
/// r = σ(x_r + r_r)   z = σ(x_z + r_z)   n = tanh(x_n + r⊙r_n)   h = (1−z)⊙n + z⊙h₋
/// ```
///
/// where r_n = R_n h₋ + b_hn: the reset gate acts after the product. Saves r, z, n, r_n, h₋.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gru;

impl Cell for Gru {
    fn name(&self) -> &'static str {
        "gru"
    }
    fn gates(&self) -> usize {
        3
    }
    fn states(&self) -> usize {
        1
    }
    fn saved(&self) -> usize {
        5
    }
    fn shared_gradient(&self) -> bool {
        false
    }
    fn wgsl(&self) -> WgslSource {
        WgslSource {
            file: "shaders/cell/gru.wgsl",
            text: include_str!("../../shaders/cell/gru.wgsl"),
        }
    }

    #[inline(always)]
    fn forward<F: Real>(&self, x: &[F], r: &[F], state: &mut [F], saved: &mut [F]) {
        let reset = (x[0] + r[0]).sigmoid();
        let update = (x[1] + r[1]).sigmoid();
        let candidate = (x[2] + reset * r[2]).tanh();
        let h_before = state[0];
        state[0] = (F::one() - update) * candidate + update * h_before;
        saved[0] = reset;
        saved[1] = update;
        saved[2] = candidate;
        saved[3] = r[2];
        saved[4] = h_before;
    }

    #[inline(always)]
    fn backward<F: Real>(&self, saved: &[F], d_state: &mut [F], d_x: &mut [F], d_r: &mut [F]) {
        let one = F::one();
        let (reset, update, candidate, r_n, h_before) =
            (saved[0], saved[1], saved[2], saved[3], saved[4]);
        let d_h = d_state[0];
        let d_n = d_h * (one - update) * (one - candidate * candidate);
        d_x[0] = d_n * r_n * reset * (one - reset);
        d_x[1] = d_h * (h_before - candidate) * update * (one - update);
        d_x[2] = d_n;
        d_r[0] = d_x[0];
        d_r[1] = d_x[1];
        d_r[2] = d_n * reset;
        d_state[0] = d_h * update;
    }
}
