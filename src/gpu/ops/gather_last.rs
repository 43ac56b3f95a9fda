//! The last steps of sequences of different lengths.

use super::GROUP;
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output\[b\] = input\[length_b − 1 − first, b\], or 0
    GatherLast = "gather_last", GatherLastParams {
        batch: u32, columns: u32, rows: u32, first: u32, input: u32, lengths: u32, output: u32, input_stride: u32,
        output_stride: u32,
    }
    bindings { input: Read, lengths: Read, output: ReadWrite }
}

pub(super) fn lower(op: &program::GatherLast, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::GatherLast {
        input,
        lengths,
        first,
        output,
    } = *op;
    let kernel = GatherLast {
        input: plan.buffer(input.tensor),
        lengths: plan.buffer(lengths.tensor),
        output: plan.buffer(output.tensor),
    };
    let params = GatherLastParams {
        batch: lengths.len as u32,
        columns: input.columns as u32,
        rows: input.rows as u32,
        first: first as u32,
        input: input.offset as u32,
        lengths: lengths.offset as u32,
        output: output.offset as u32,
        input_stride: input.row_stride as u32,
        output_stride: output.row_stride as u32,
    };
    let workgroups = plan.workgroups((lengths.len * input.columns).div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
