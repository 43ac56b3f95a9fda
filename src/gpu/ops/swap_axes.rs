//! Time-major to batch-major and back.

use super::GROUP;
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output\[b, a, n\] = input\[a, b, n\]
    SwapAxes = "swap_axes", SwapAxesParams { a: u32, b: u32, n: u32, input: u32, output: u32 }
    bindings { input: Read, output: ReadWrite }
}

pub(super) fn lower(op: &program::SwapAxes, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let [a, b, n] = op.shape;
    let kernel = SwapAxes {
        input: plan.buffer(op.input.tensor),
        output: plan.buffer(op.output.tensor),
    };
    let params = SwapAxesParams {
        a: a as u32,
        b: b as u32,
        n: n as u32,
        input: op.input.offset as u32,
        output: op.output.offset as u32,
    };
    let workgroups = plan.workgroups((a * b * n).div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
