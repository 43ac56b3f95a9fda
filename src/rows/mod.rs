//! Cells applied to whole rows on a CPU: what a row reads and writes, a cell behind a pointer, and
//! the loops over units.

mod cell_ref;
mod units;
mod vectors;

pub use cell_ref::CellRef;
use cell_ref::ErasedCell;

use crate::expr::BlockScalar;
use crate::operation::OperationScalar;
use crate::panels::{PanelScalar, Panels};
use ndarray::{ArrayView2, ArrayViewMut2};

/// One batch row of one step, all H units. Planar: gate g of unit j is at `g·H + j`.
pub struct ForwardRow<'a, F> {
    /// `[G, H]`
    pub x: &'a [F],
    /// `[G, H]`
    pub r: &'a [F],
    /// `[V, H]`
    pub diagonal: &'a [F],
    /// `[S, H]`, old states in, new out.
    pub state: &'a mut [F],
    /// `[K, H]`, out; `None` where nothing is kept.
    pub saved: Option<&'a mut [F]>,
}

/// One batch row of one step back, planar like [`ForwardRow`].
pub struct BackwardRow<'a, F> {
    /// `[K, H]`
    pub saved: &'a [F],
    /// `[V, H]`
    pub diagonal: &'a [F],
    /// `[S, H]`, gradient of the new states in, direct gradient of the old out.
    pub d_state: &'a mut [F],
    /// `[G, H]`, out.
    pub d_x: &'a mut [F],
    /// `[G, H]`, out; `None` where it equals `d_x`.
    pub d_r: Option<&'a mut [F]>,
    /// `[V, H]`, added to.
    pub d_diagonal: &'a mut [F],
}

/// One batch row between the products of a step, planar like [`ForwardRow`].
pub struct InnerRow<'a, F> {
    /// `[G, H]`
    pub x: &'a [F],
    /// `[G, H]`, of which the early gates count.
    pub r: &'a [F],
    /// `[S, H]`
    pub state: &'a [F],
    /// `[H]`, out.
    pub inner: &'a mut [F],
}

/// One batch row between the products of a step back, planar like [`ForwardRow`].
pub struct InnerBackwardRow<'a, F> {
    /// `[K, H]`
    pub saved: &'a [F],
    /// `[H]`
    pub d_inner: &'a [F],
    /// `[S, H]`, added to.
    pub d_state: &'a mut [F],
    /// `[G, H]`, added to.
    pub d_x: &'a mut [F],
    /// `[G, H]`, added to; `None` where it equals `d_x`.
    pub d_r: Option<&'a mut [F]>,
}

/// Some batch rows of one step with their product r = R h₋ + b_hh, planar like [`ForwardRow`].
pub struct StepRows<'a, F> {
    /// R, by [units](Panels::of_units).
    pub weights: &'a Panels<F>,
    /// b_hh, in the order of their columns.
    pub bias: &'a [F],
    /// `[V, H]`
    pub diagonal: &'a [F],
    /// Whether units are taken from the last to the first: done every other step, what the nearest
    /// cache still holds of R is used first.
    pub back: bool,
    /// `[b, G·H or more]`
    pub x: ArrayView2<'a, F>,
    /// `[b, S·H]`, the old states, of which the first is h₋.
    pub before: ArrayView2<'a, F>,
    /// `[b, S·H]`, the new states, out.
    pub state: ArrayViewMut2<'a, F>,
    /// `[b, K·H]`, out; `None` where nothing is kept.
    pub saved: Option<ArrayViewMut2<'a, F>>,
    /// `[b]`: which rows have this step; the others are left as they are.
    pub live: &'a [bool],
    /// Room for the products of all rows with a panel.
    pub r: &'a mut [F],
}

/// The rows that [`StepRows`] has at most. With more, the product takes so much of the time that it
/// need not be one with the cell.
pub(crate) const STEP_ROWS: usize = 8;

/// A cell applied to rows of a scalar type.
pub trait RowCell<F>: Sync {
    /// The cell, if it takes steps with their products.
    fn takes_steps(&self) -> Option<&dyn TakesSteps<F>>;
    fn forward_row(&self, row: ForwardRow<'_, F>);
    fn backward_row(&self, row: BackwardRow<'_, F>);
    fn inner_row(&self, row: InnerRow<'_, F>);
    fn inner_backward_row(&self, row: InnerBackwardRow<'_, F>);
}

/// A cell that takes a step with its product.
pub trait TakesSteps<F>: Sync {
    /// Takes one step of [`STEP_ROWS`] rows at most.
    fn step_rows(&self, rows: StepRows<'_, F>);
}

/// A scalar type that cells and packed products work on.
pub trait RowScalar: PanelScalar + BlockScalar + OperationScalar {
    /// A cell for rows of this type.
    fn rows(cell: &dyn ErasedCell) -> &dyn RowCell<Self>;
}

impl RowScalar for f32 {
    fn rows(cell: &dyn ErasedCell) -> &dyn RowCell<Self> {
        cell
    }
}

impl RowScalar for f64 {
    fn rows(cell: &dyn ErasedCell) -> &dyn RowCell<Self> {
        cell
    }
}
