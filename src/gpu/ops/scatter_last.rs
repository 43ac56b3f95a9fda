//! The gradient of the last steps of sequences of different lengths.

use super::GROUP;
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// d_input\[length_b − 1, b\] = d_output\[b\], else 0
    ScatterLast = "scatter_last", ScatterLastParams {
        rows: u32, batch: u32, columns: u32, d_output: u32, lengths: u32, d_input: u32, d_output_stride: u32,
        d_input_stride: u32,
    }
    bindings { d_output: Read, lengths: Read, d_input: ReadWrite }
}

pub(super) fn lower(op: &program::ScatterLast, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::ScatterLast {
        d_output,
        lengths,
        d_input,
    } = *op;
    let kernel = ScatterLast {
        d_output: plan.buffer(d_output.tensor),
        lengths: plan.buffer(lengths.tensor),
        d_input: plan.buffer(d_input.tensor),
    };
    let params = ScatterLastParams {
        rows: d_input.rows as u32,
        batch: lengths.len as u32,
        columns: d_input.columns as u32,
        d_output: d_output.offset as u32,
        lengths: lengths.offset as u32,
        d_input: d_input.offset as u32,
        d_output_stride: d_output.row_stride as u32,
        d_input_stride: d_input.row_stride as u32,
    };
    let workgroups = plan.workgroups((d_input.rows * d_input.columns).div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
