//! The gradient of rows repeated side by side.

use super::{GROUP, flag};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// d_input\[m, n\] = Σ_r d_output\[m, r·N + n\] (+ d_input\[m, n\])
    RepeatBackward = "repeat_backward", RepeatBackwardParams {
        rows: u32, columns: u32, width: u32, d_output: u32, d_output_stride: u32, d_input: u32, d_input_stride: u32,
        accumulate: u32,
    }
    bindings { d_output: Read, d_input: ReadWrite }
}

pub(super) fn lower(op: &program::RepeatBackward, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::RepeatBackward {
        d_output,
        d_input,
        accumulate,
    } = *op;
    let kernel = RepeatBackward {
        d_output: plan.buffer(d_output.tensor),
        d_input: plan.buffer(d_input.tensor),
    };
    let params = RepeatBackwardParams {
        rows: d_input.rows as u32,
        columns: d_output.columns as u32,
        width: d_input.columns as u32,
        d_output: d_output.offset as u32,
        d_output_stride: d_output.row_stride as u32,
        d_input: d_input.offset as u32,
        d_input_stride: d_input.row_stride as u32,
        accumulate: flag(accumulate),
    };
    let workgroups = plan.workgroups((d_input.rows * d_input.columns).div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
