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
        if let Some((_, half)) = plan.memo.find(|(of, _): &(Matrix, Self)| *of == matrix) {
            return Ok(half.clone());
        }
        let half = Self::pack(matrix, plan, true)?;
        plan.memo.keep((matrix, half.clone()), vec![matrix.tensor]);
        Ok(half)
    }

    /// Numbers that no other operation takes.
    pub(super) fn of_numbers(matrix: Matrix, plan: &mut PlanBuilder<'_>) -> Result<Self> {
        Self::pack(matrix, plan, false)
    }

    /// `lasts`: whether nothing else is put into the buffer.
    fn pack(matrix: Matrix, plan: &mut PlanBuilder<'_>, lasts: bool) -> Result<Self> {
        let stride = matrix.columns.next_multiple_of(PADDING);
        let width = stride / 4;
        // Counted as f32; it may be bound even where it is empty.
        let len = (matrix.rows * stride / 2).max(PADDING);
        let buffer = match lasts {
            true => plan.lasting("weights in f16", len)?,
            false => plan.scratch("an operand in f16", len)?,
        };
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
        match lasts {
            true => plan.dispatch_once(&kernel, &variant, params, workgroups, [matrix.tensor])?,
            false => plan.dispatch(&kernel, &variant, params, workgroups)?,
        }
        Ok(Self { buffer, stride })
    }
}
