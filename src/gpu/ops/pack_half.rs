//! Matrices rounded to f16.

use super::GROUP;
use crate::error::Result;
use crate::gpu::compose::{EACH_INVOCATION, HALF};
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program::Matrix;

kernel! {
    /// A matrix rounded to f16, rows padded with zeros
    PackHalf = "pack_half", PackHalfParams {
        rows: u32, columns: u32, matrix: u32, stride: u32, width: u32,
    }
    bindings { matrix: Read, packed: ReadWrite }
    libraries [EACH_INVOCATION, HALF]
}

/// Packed rows are padded to a multiple of this, which the tiles of cooperative matrices take.
const PADDING: usize = 16;

/// A matrix in f16, from the first element of a buffer on.
#[derive(Clone, Debug)]
pub(super) struct Half {
    pub(super) buffer: wgpu::Buffer,
    /// Elements from one row to the next.
    pub(super) stride: usize,
}

impl Half {
    /// Weights, which are rounded once for all operations that take them.
    pub(super) fn of_weights(matrix: Matrix, plan: &mut PlanBuilder<'_>) -> Result<Self> {
        let fits = |(of, _): &(Matrix, Self)| *of == matrix;
        if let Some((_, half)) = plan.memo.find(fits) {
            return Ok(half.clone());
        }
        let buffer = plan.lasting("weights in f16", Self::len(matrix))?;
        let half = Self::pack(matrix, buffer, plan, true)?;
        plan.memo.keep((matrix, half.clone()), vec![matrix.tensor]);
        Ok(half)
    }

    /// Numbers that no other operation takes.
    pub(super) fn of_numbers(matrix: Matrix, plan: &mut PlanBuilder<'_>) -> Result<Self> {
        let buffer = plan.scratch("an operand in f16", Self::len(matrix))?;
        Self::pack(matrix, buffer, plan, false)
    }

    fn stride(matrix: Matrix) -> usize {
        matrix.columns.next_multiple_of(PADDING)
    }

    /// The size of the buffer, counted as f32; it may be bound even where it is empty.
    fn len(matrix: Matrix) -> usize {
        (matrix.rows * Self::stride(matrix) / 2).max(PADDING)
    }

    /// `lasts`: whether nothing else is put into the buffer.
    fn pack(
        matrix: Matrix,
        buffer: wgpu::Buffer,
        plan: &mut PlanBuilder<'_>,
        lasts: bool,
    ) -> Result<Self> {
        let stride = Self::stride(matrix);
        let width = stride / 4;
        let kernel = PackHalf {
            matrix: plan.buffer(matrix.tensor),
            packed: &buffer,
        };
        let params = PackHalfParams {
            rows: matrix.rows as u32,
            columns: matrix.columns as u32,
            matrix: matrix.offset as u32,
            stride: matrix.row_stride as u32,
            width: width as u32,
        };
        let workgroups = plan.workgroups((matrix.rows * width).div_ceil(GROUP), 1)?;
        let variant = Variant::default();
        if lasts {
            plan.dispatch_once(&kernel, &variant, params, workgroups, [matrix.tensor])?;
        } else {
            plan.dispatch(&kernel, &variant, params, workgroups)?;
        }
        Ok(Self { buffer, stride })
    }
}
