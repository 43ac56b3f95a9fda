//! The cells as they are without options: what they save spares the backward pass the activations.

use super::{Backward, Cell, Forward, Lanes, WgslSource};

/// [`RnnUnit`](super::RnnUnit) with ReLU or else tanh. Saves h.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainRnn<const RELU: bool>;

impl<const RELU: bool> Cell for PlainRnn<RELU> {
    fn name(&self) -> &'static str {
        if RELU { "rnn_relu" } else { "rnn_tanh" }
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
        Some(if RELU {
            crate::wgsl!("shaders/cell/rnn_relu.wgsl")
        } else {
            crate::wgsl!("shaders/cell/rnn_tanh.wgsl")
        })
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let pre_activation = unit.x[0] + unit.r[0];
        unit.state[0] = if RELU {
            pre_activation.where_positive(pre_activation, pre_activation.zero())
        } else {
            pre_activation.tanh()
        };
        unit.saved[0] = unit.state[0];
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let (d_h, h) = (unit.d_state[0], unit.saved[0]);
        unit.d_x[0] = if RELU {
            // The gradient of max(0, x) at 0 is 0, as in PyTorch.
            h.where_positive(d_h, h.zero())
        } else {
            d_h * (h * h).complement()
        };
        unit.d_r[0] = unit.d_x[0];
        unit.d_state[0] = d_h.zero();
    }
}

/// [`LstmUnit`](super::LstmUnit). Saves i, f, g, o, c₋.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainLstm;

impl Cell for PlainLstm {
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
    fn wgsl(&self) -> Option<WgslSource> {
        Some(crate::wgsl!("shaders/cell/lstm.wgsl"))
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let (x, r) = (unit.x, unit.r);
        let input = (x[0] + r[0]).sigmoid();
        let forget = (x[1] + r[1]).sigmoid();
        let candidate = (x[2] + r[2]).tanh();
        let output = (x[3] + r[3]).sigmoid();
        let c_before = unit.state[1];
        let c = forget * c_before + input * candidate;
        unit.state[0] = output * c.tanh();
        unit.state[1] = c;
        unit.saved[0] = input;
        unit.saved[1] = forget;
        unit.saved[2] = candidate;
        unit.saved[3] = output;
        unit.saved[4] = c_before;
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
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

/// [`GruUnit`](super::GruUnit), reset after the product. Saves r, z, n, r_n, h₋.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainGru;

impl Cell for PlainGru {
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
    fn wgsl(&self) -> Option<WgslSource> {
        Some(crate::wgsl!("shaders/cell/gru.wgsl"))
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let (x, r) = (unit.x, unit.r);
        let reset = (x[0] + r[0]).sigmoid();
        let update = (x[1] + r[1]).sigmoid();
        let candidate = (x[2] + reset * r[2]).tanh();
        let h_before = unit.state[0];
        unit.state[0] = update.complement() * candidate + update * h_before;
        unit.saved[0] = reset;
        unit.saved[1] = update;
        unit.saved[2] = candidate;
        unit.saved[3] = r[2];
        unit.saved[4] = h_before;
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
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
