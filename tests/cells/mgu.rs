//! The minimal gated unit with all that a cell may write itself.

use bptt::cell::{Backward, Cell, Forward, Inner, InnerBackward, Lanes, WgslSource};

/// The minimal gated unit (Zhou, Wu, Zhang & Zhou, "Minimal gated unit for recurrent neural networks", 2016): a GRU with one gate.
///
/// ```text
/// f = σ(x_f + R_f h₋ + b_f)   n = tanh(x_n + R_n (f⊙h₋) + b_n)   h = (1−f)⊙h₋ + f⊙n
/// ```
///
/// Gates f, n. R_n takes f⊙h₋ and not h₋, so f is the early gate and n a late one. Saves f, n, h₋.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mgu;

impl Cell for Mgu {
    fn name(&self) -> &'static str {
        "mgu"
    }
    fn gates(&self) -> usize {
        2
    }
    fn early_gates(&self) -> usize {
        1
    }
    fn states(&self) -> usize {
        1
    }
    fn saved(&self) -> usize {
        3
    }
    fn shared_gradient(&self) -> bool {
        true
    }
    fn wgsl(&self) -> Option<WgslSource> {
        Some(bptt::wgsl!("tests/cells/mgu.wgsl"))
    }

    #[inline(always)]
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        (unit.x[0] + unit.r[0]).sigmoid() * unit.state[0]
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let forget = (unit.x[0] + unit.r[0]).sigmoid();
        let candidate = (unit.x[1] + unit.r[1]).tanh();
        let h_before = unit.state[0];
        unit.state[0] = forget.complement() * h_before + forget * candidate;
        unit.saved[0] = forget;
        unit.saved[1] = candidate;
        unit.saved[2] = h_before;
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let (forget, candidate, h_before) = (unit.saved[0], unit.saved[1], unit.saved[2]);
        let d_h = unit.d_state[0];
        unit.d_x[0] = d_h * (candidate - h_before) * forget * forget.complement();
        unit.d_x[1] = d_h * forget * (candidate * candidate).complement();
        unit.d_r.copy_from_slice(unit.d_x);
        unit.d_state[0] = d_h * forget.complement();
    }

    /// What the gradient of f⊙h₋ adds.
    #[inline(always)]
    fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
        let (forget, h_before) = (unit.saved[0], unit.saved[2]);
        let d_forget = unit.d_inner * h_before * forget * forget.complement();
        unit.d_x[0] += d_forget;
        unit.d_r[0] += d_forget;
        unit.d_state[0] += unit.d_inner * forget;
    }
}
