//! Sums of columns.

use super::{GROUP, flag};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output\[block, n\] = Σ_m input\[m, n\] over each block of rows (+ output)
    ColumnSum = "column_sum", ColumnSumParams {
        rows: u32, columns: u32, row_stride: u32, block: u32, input: u32, output: u32, accumulate: u32,
    }
    bindings { input: Read, output: ReadWrite }
}

/// Rows that one invocation adds up; longer columns take a second dispatch over the blocks' sums.
const BLOCK: usize = 128;

pub(super) fn lower(op: &program::ColumnSum, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let output = (plan.buffer(op.output.tensor), op.output.offset);
    sum(
        plan,
        (plan.buffer(op.input.tensor), op.input),
        output,
        op.accumulate,
    )
}

/// Sums the columns of `input` (a buffer and the matrix in it) into `output` (a buffer and an offset).
pub(super) fn sum(
    plan: &mut PlanBuilder<'_>,
    (buffer, input): (&wgpu::Buffer, program::Matrix),
    (output, output_offset): (&wgpu::Buffer, usize),
    accumulate: bool,
) -> Result<()> {
    let blocks = input.rows.div_ceil(BLOCK).max(1);
    let mut params = ColumnSumParams {
        rows: input.rows as u32,
        columns: input.columns as u32,
        row_stride: input.row_stride as u32,
        block: BLOCK as u32,
        input: input.offset as u32,
        output: output_offset as u32,
        accumulate: flag(accumulate),
    };
    if blocks == 1 {
        let workgroups = plan.workgroups(input.columns.div_ceil(GROUP), 1)?;
        return plan.dispatch(
            &ColumnSum {
                input: buffer,
                output,
            },
            &Variant::default(),
            params,
            workgroups,
        );
    }
    let partial = plan.scratch("partial sums", blocks * input.columns)?;
    (params.output, params.accumulate) = (0, 0);
    let workgroups = plan.workgroups((blocks * input.columns).div_ceil(GROUP), 1)?;
    plan.dispatch(
        &ColumnSum {
            input: buffer,
            output: &partial,
        },
        &Variant::default(),
        params,
        workgroups,
    )?;
    let blocks = program::Matrix {
        offset: 0,
        rows: blocks,
        row_stride: input.columns,
        ..input
    };
    sum(
        plan,
        (&partial, blocks),
        (output, output_offset),
        accumulate,
    )
}
