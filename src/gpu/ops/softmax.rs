//! Softmax over rows.

use super::check_row;
use crate::error::Result;
use crate::gpu::compose::ROW;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output = softmax(input), row by row
    Softmax = "softmax", SoftmaxParams {
        rows: u32, columns: u32, input: u32, output: u32, input_stride: u32, output_stride: u32,
    }
    bindings { input: Read, output: ReadWrite }
    libraries [ROW]
}

pub(super) fn lower(op: &program::Softmax, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::Softmax { input, output } = op;
    check_row("softmax", input.columns)?;
    let kernel = Softmax {
        input: plan.buffer(input.tensor),
        output: plan.buffer(output.tensor),
    };
    let params = SoftmaxParams {
        rows: input.rows as u32,
        columns: input.columns as u32,
        input: input.offset as u32,
        output: output.offset as u32,
        input_stride: input.row_stride as u32,
        output_stride: output.row_stride as u32,
    };
    let workgroups = plan.workgroups(input.rows, 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
