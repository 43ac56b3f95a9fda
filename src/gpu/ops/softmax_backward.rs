//! The gradient of softmax.

use super::check_row;
use crate::error::Result;
use crate::gpu::compose::ROW;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// d_input = output ⊙ (d_output − Σ_row output ⊙ d_output)
    SoftmaxBackward = "softmax_backward", SoftmaxBackwardParams {
        rows: u32, columns: u32, output: u32, d_output: u32, d_input: u32,
        output_stride: u32, d_output_stride: u32, d_input_stride: u32,
    }
    bindings { output: Read, d_output: Read, d_input: ReadWrite }
    libraries [ROW]
}

pub(super) fn lower(op: &program::SoftmaxBackward, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::SoftmaxBackward {
        output,
        d_output,
        d_input,
    } = op;
    check_row("softmax_backward", output.columns)?;
    let kernel = SoftmaxBackward {
        output: plan.buffer(output.tensor),
        d_output: plan.buffer(d_output.tensor),
        d_input: plan.buffer(d_input.tensor),
    };
    let params = SoftmaxBackwardParams {
        rows: output.rows as u32,
        columns: output.columns as u32,
        output: output.offset as u32,
        d_output: d_output.offset as u32,
        d_input: d_input.offset as u32,
        output_stride: output.row_stride as u32,
        d_output_stride: d_output.row_stride as u32,
        d_input_stride: d_input.row_stride as u32,
    };
    let workgroups = plan.workgroups(output.rows, 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
