//! Which code applies a cell to rows of a scalar type.

use super::{BackwardRow, ErasedCell, ForwardRow, InnerBackwardRow, InnerRow, TakesSteps};
use crate::expr::BlockScalar;
use crate::panels::PanelScalar;

/// A scalar type that cells and packed products work on.
pub trait RowScalar: PanelScalar + BlockScalar {
    /// The cell, if it takes steps with their products.
    fn takes_steps(cell: &dyn ErasedCell) -> Option<&dyn TakesSteps<Self>>;
    fn cell_forward(cell: &dyn ErasedCell, row: ForwardRow<'_, Self>);
    fn cell_backward(cell: &dyn ErasedCell, row: BackwardRow<'_, Self>);
    fn cell_inner(cell: &dyn ErasedCell, row: InnerRow<'_, Self>);
    fn cell_inner_backward(cell: &dyn ErasedCell, row: InnerBackwardRow<'_, Self>);
}

impl RowScalar for f32 {
    fn takes_steps(cell: &dyn ErasedCell) -> Option<&dyn TakesSteps<Self>> {
        cell.takes_steps()
    }
    fn cell_forward(cell: &dyn ErasedCell, row: ForwardRow<'_, Self>) {
        cell.forward_f32(row);
    }
    fn cell_backward(cell: &dyn ErasedCell, row: BackwardRow<'_, Self>) {
        cell.backward_f32(row);
    }
    fn cell_inner(cell: &dyn ErasedCell, row: InnerRow<'_, Self>) {
        cell.inner_f32(row);
    }
    fn cell_inner_backward(cell: &dyn ErasedCell, row: InnerBackwardRow<'_, Self>) {
        cell.inner_backward_f32(row);
    }
}

impl RowScalar for f64 {
    /// The reference takes the product and the cell one after the other.
    fn takes_steps(_: &dyn ErasedCell) -> Option<&dyn TakesSteps<Self>> {
        None
    }
    fn cell_forward(cell: &dyn ErasedCell, row: ForwardRow<'_, Self>) {
        cell.forward_f64(row);
    }
    fn cell_backward(cell: &dyn ErasedCell, row: BackwardRow<'_, Self>) {
        cell.backward_f64(row);
    }
    fn cell_inner(cell: &dyn ErasedCell, row: InnerRow<'_, Self>) {
        cell.inner_f64(row);
    }
    fn cell_inner_backward(cell: &dyn ErasedCell, row: InnerBackwardRow<'_, Self>) {
        cell.inner_backward_f64(row);
    }
}
