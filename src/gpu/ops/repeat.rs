//! Rows repeated side by side.

use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output\[m, r·N + n\] = input\[m, n\] (+ bias\[r·N + n\])
    Repeat = "repeat", RepeatParams {
        rows: u32, columns: u32, width: u32, input: u32, input_stride: u32, bias: u32, has_bias: u32, output: u32,
        output_stride: u32,
    }
    bindings { input: Read, bias: Read, output: ReadWrite }
}

pub(super) fn lower(op: &program::Repeat, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::Repeat {
        input,
        bias,
        output,
    } = *op;
    let kernel = Repeat {
        input: plan.buffer(input.tensor),
        bias: &plan.read_or_unused(bias),
        output: plan.buffer(output.tensor),
    };
    let params = RepeatParams {
        rows: output.rows as u32,
        columns: output.columns as u32,
        width: input.columns as u32,
        input: input.offset as u32,
        input_stride: input.row_stride as u32,
        bias: offset(bias),
        has_bias: flag(bias.is_some()),
        output: output.offset as u32,
        output_stride: output.row_stride as u32,
    };
    let workgroups = plan.workgroups((output.rows * output.columns).div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
