//! The cells as they are without options: what they save spares the backward pass the activations.

use super::{Backward, Cell, Forward, Lanes, WgslSource};
use crate::CellRef;

/// A cell with functions of its own for the case that it has no option.
pub(super) trait PlainCell: Cell {
    /// [`Cell::saved`] without options.
    const SAVED: usize;
    /// The WGSL of those functions.
    fn plain_wgsl(&self) -> WgslSource;
    /// [`Cell::forward`] without options.
    fn forward_plain<N: Lanes>(&self, unit: Forward<'_, N>);
    /// [`Cell::backward`] without options.
    fn backward_plain<N: Lanes>(&self, unit: Backward<'_, N>);
}

/// A cell that has no option.
#[derive(Clone, Debug)]
pub(super) struct Plain<C>(C);

impl<C: PlainCell> Plain<C> {
    pub(super) fn share(cell: C) -> CellRef {
        CellRef::share(Self(cell))
    }
}

impl<C: PlainCell> Cell for Plain<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn gates(&self) -> usize {
        self.0.gates()
    }
    fn states(&self) -> usize {
        self.0.states()
    }
    fn saved(&self) -> usize {
        C::SAVED
    }
    fn shared_gradient(&self) -> bool {
        self.0.shared_gradient()
    }
    fn wgsl(&self) -> Option<WgslSource> {
        Some(self.0.plain_wgsl())
    }
    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        self.0.forward_plain(unit);
    }
    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        self.0.backward_plain(unit);
    }
}
