//! A cell without all that may be left out.

use bptt::cell::{Cell, Forward, Inner, Lanes};

/// A cell with its forward functions only: what is saved, the backward functions and the WGSL come
/// from them.
#[derive(Clone, Debug)]
pub struct ForwardOnly<C>(pub C);

impl<C: Cell> Cell for ForwardOnly<C> {
    fn name(&self) -> &'static str {
        "forward_only"
    }
    fn gates(&self) -> usize {
        self.0.gates()
    }
    fn states(&self) -> usize {
        self.0.states()
    }
    fn diagonals(&self) -> usize {
        self.0.diagonals()
    }
    fn early_gates(&self) -> usize {
        self.0.early_gates()
    }
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        self.0.forward(unit);
    }
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        self.0.inner(unit)
    }
}
