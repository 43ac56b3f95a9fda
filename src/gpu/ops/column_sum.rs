//! Sums of columns.

use super::{GROUP, flag};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output\[block, n\] = Σ_m input\[m, n\] over each block of rows (+ output), and copies
    ColumnSum = "column_sum", ColumnSumParams {
        rows: u32, columns: u32, row_stride: u32, block: u32, input: u32, output: u32, copies: u32, copy_stride: u32,
        accumulate: u32,
    }
    bindings { input: Read, output: ReadWrite }
}

/// Rows that one invocation adds up; longer columns take a second dispatch over the blocks' sums.
const BLOCK: usize = 128;

pub(super) fn lower(op: &program::ColumnSum, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let input = plan.buffer(op.input.tensor);
    let params = ColumnSumParams {
        output: op.output.offset as u32,
        copies: op.output.rows as u32,
        copy_stride: op.output.row_stride as u32,
        accumulate: flag(op.accumulate),
        ..ColumnSumParams::default()
    };
    let output = plan.buffer(op.output.tensor);
    sum_to(plan, (input, op.input), output, params)
}

/// Adds the sums of the columns of `input` (a buffer and the matrix in it) to `output` (a buffer and an offset).
pub(super) fn sum(
    plan: &mut PlanBuilder<'_>,
    input: (&wgpu::Buffer, program::Matrix),
    (output, offset): (&wgpu::Buffer, usize),
) -> Result<()> {
    let params = ColumnSumParams {
        output: offset as u32,
        copies: 1,
        accumulate: 1,
        ..ColumnSumParams::default()
    };
    sum_to(plan, input, output, params)
}

/// Sums the columns of `input`; `params` say where in the output.
fn sum_to(
    plan: &mut PlanBuilder<'_>,
    (input, matrix): (&wgpu::Buffer, program::Matrix),
    output: &wgpu::Buffer,
    params: ColumnSumParams,
) -> Result<()> {
    let blocks = matrix.rows.div_ceil(BLOCK).max(1);
    let whole = ColumnSumParams {
        rows: matrix.rows as u32,
        columns: matrix.columns as u32,
        row_stride: matrix.row_stride as u32,
        block: BLOCK as u32,
        input: matrix.offset as u32,
        ..params
    };
    let workgroups = plan.workgroups((blocks * matrix.columns).div_ceil(GROUP), 1)?;
    if blocks == 1 {
        let kernel = ColumnSum { input, output };
        return plan.dispatch(&kernel, &Variant::default(), whole, workgroups);
    }
    let partial = plan.scratch("partial sums", blocks * matrix.columns)?;
    let of_blocks = ColumnSumParams {
        output: 0,
        copies: 1,
        accumulate: 0,
        ..whole
    };
    let kernel = ColumnSum {
        input,
        output: &partial,
    };
    plan.dispatch(&kernel, &Variant::default(), of_blocks, workgroups)?;
    let rows = program::Matrix {
        offset: 0,
        rows: blocks,
        row_stride: matrix.columns,
        ..matrix
    };
    sum_to(plan, (&partial, rows), output, params)
}
