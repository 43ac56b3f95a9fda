//! The two scalar types of the CPU path.

use crate::cell::{BackwardRow, ErasedCell, ForwardRow, InnerBackwardRow, InnerRow, TakesSteps};
use crate::cpu::PanelScalar;
use crate::expr::BlockScalar;

/// `f32` or `f64`: what the CPU path computes in. Sealed.
pub trait Real: ndarray::NdFloat + bytemuck::Pod + Default + PanelScalar + BlockScalar + sealed::Sealed {
    /// From a double, rounded.
    fn from_double(value: f64) -> Self;
    /// To a double, exact.
    fn to_double(self) -> f64;
    /// The number whose bits are those of a whole number, as tensors carry them. Nothing is computed with it.
    fn from_whole(whole: u32) -> Self;
    /// The whole number that was carried.
    fn to_whole(self) -> u32;

    #[doc(hidden)]
    fn takes_steps(cell: &dyn ErasedCell) -> Option<&dyn TakesSteps<Self>>;
    #[doc(hidden)]
    fn cell_forward(cell: &dyn ErasedCell, row: ForwardRow<'_, Self>);
    #[doc(hidden)]
    fn cell_backward(cell: &dyn ErasedCell, row: BackwardRow<'_, Self>);
    #[doc(hidden)]
    fn cell_inner(cell: &dyn ErasedCell, row: InnerRow<'_, Self>);
    #[doc(hidden)]
    fn cell_inner_backward(cell: &dyn ErasedCell, row: InnerBackwardRow<'_, Self>);
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    #[inline(always)]
    fn from_whole(whole: u32) -> Self {
        Self::from_bits(whole)
    }
    #[inline(always)]
    fn to_whole(self) -> u32 {
        self.to_bits()
    }
    #[inline(always)]
    fn from_double(value: f64) -> Self {
        value as f32
    }
    #[inline(always)]
    fn to_double(self) -> f64 {
        f64::from(self)
    }
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

impl Real for f64 {
    #[inline(always)]
    fn from_whole(whole: u32) -> Self {
        Self::from_bits(u64::from(whole))
    }
    #[inline(always)]
    fn to_whole(self) -> u32 {
        self.to_bits() as u32
    }
    #[inline(always)]
    fn from_double(value: f64) -> Self {
        value
    }
    #[inline(always)]
    fn to_double(self) -> f64 {
        self
    }
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
