//! Constants.

use super::GROUP;
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output = value
    Fill = "fill", FillParams { offset: u32, len: u32, value: f32 }
    bindings { output: ReadWrite }
}

pub(super) fn lower(op: &program::Fill, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::Fill { target, value } = *op;
    let output = plan.buffer(target.tensor);
    fill(plan, output, (target.offset, target.len), value)
}

/// Makes `len` floats of a buffer, `offset` floats from its start, all `value`.
pub(super) fn fill(
    plan: &mut PlanBuilder<'_>,
    output: &wgpu::Buffer,
    (offset, len): (usize, usize),
    value: f32,
) -> Result<()> {
    let params = FillParams {
        offset: offset as u32,
        len: len as u32,
        value,
    };
    let workgroups = plan.workgroups(len.div_ceil(GROUP), 1)?;
    plan.dispatch(&Fill { output }, &Variant::default(), params, workgroups)
}
