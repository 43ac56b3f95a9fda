//! A matrix times another, element by element.

use super::GROUP;
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output\[m, n\] = input\[m, n\] · factor\[m mod K, n\]
    Multiply = "multiply", MultiplyParams {
        rows: u32, columns: u32, factor_rows: u32, input: u32, input_stride: u32, factor: u32, factor_stride: u32,
        output: u32, output_stride: u32,
    }
    bindings { input: Read, factor: Read, output: ReadWrite }
}

pub(super) fn lower(op: &program::Multiply, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::Multiply {
        input,
        factor,
        output,
    } = *op;
    let kernel = Multiply {
        input: plan.buffer(input.tensor),
        factor: plan.buffer(factor.tensor),
        output: plan.buffer(output.tensor),
    };
    let params = MultiplyParams {
        rows: output.rows as u32,
        columns: output.columns as u32,
        factor_rows: factor.rows as u32,
        input: input.offset as u32,
        input_stride: input.row_stride as u32,
        factor: factor.offset as u32,
        factor_stride: factor.row_stride as u32,
        output: output.offset as u32,
        output_stride: output.row_stride as u32,
    };
    let workgroups = plan.workgroups((output.rows * output.columns).div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
