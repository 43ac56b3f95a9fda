//! Cells applied to whole rows on a CPU: what a row reads and writes, a cell behind a pointer, and
//! the loops over units.

mod cell_ref;
mod units;
mod vectors;

pub use cell_ref::CellRef;
use cell_ref::ErasedCell;

use crate::cell::Cell;
use crate::expr::BlockScalar;
use crate::operation::OperationScalar;
use crate::panels::{PanelScalar, Panels};
use ndarray::{ArrayView2, ArrayViewMut2};

/// One batch row of one step, all H units. Planar: gate g of unit j is at `g·H + j`.
pub enum Row<'a, F> {
    /// A step: see [`Cell::forward`].
    Forward {
        /// `[G, H]`
        x: &'a [F],
        /// `[G, H]`
        r: &'a [F],
        /// `[V, H]`
        diagonal: &'a [F],
        /// `[S, H]`, old states in, new out.
        state: &'a mut [F],
        /// `[K, H]`, out; `None` where nothing is kept.
        saved: Option<&'a mut [F]>,
    },
    /// A step back: see [`Cell::backward`].
    Backward {
        /// `[K, H]`
        saved: &'a [F],
        /// `[V, H]`
        diagonal: &'a [F],
        /// `[S, H]`, gradient of the new states in, direct gradient of the old out.
        d_state: &'a mut [F],
        /// `[G, H]`, out.
        d_x: &'a mut [F],
        /// `[G, H]`, out; `None` where it equals `d_x`.
        d_r: Option<&'a mut [F]>,
        /// `[V, H]`, added to.
        d_diagonal: &'a mut [F],
    },
    /// Between the products of a step: see [`Cell::inner`].
    Inner {
        /// `[G, H]`
        x: &'a [F],
        /// `[G, H]`, of which the early gates count.
        r: &'a [F],
        /// `[S, H]`
        state: &'a [F],
        /// `[H]`, out.
        inner: &'a mut [F],
    },
    /// Between the products of a step back: see [`Cell::inner_backward`].
    InnerBackward {
        /// `[K, H]`
        saved: &'a [F],
        /// `[H]`
        d_inner: &'a [F],
        /// `[S, H]`, added to.
        d_state: &'a mut [F],
        /// `[G, H]`, added to.
        d_x: &'a mut [F],
        /// `[G, H]`, added to; `None` where it equals `d_x`.
        d_r: Option<&'a mut [F]>,
    },
}

/// Some batch rows of one step with their product r = R h₋ + b_hh, planar like [`Row`].
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
    fn apply(&self, row: Row<'_, F>);
}

/// A cell that takes a step with its product.
pub trait TakesSteps<F>: Sync {
    /// Takes one step of [`STEP_ROWS`] rows at most.
    fn step_rows(&self, rows: StepRows<'_, F>);
}

impl<C: Cell> RowCell<f64> for C {
    /// The reference takes the product and the cell one after the other.
    fn takes_steps(&self) -> Option<&dyn TakesSteps<f64>> {
        None
    }
    fn apply(&self, row: Row<'_, f64>) {
        units::apply(self, row, units::OneUnit);
    }
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
