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
    let kernel = Fill {
        output: plan.buffer(target.tensor),
    };
    let params = FillParams {
        offset: target.offset as u32,
        len: target.len as u32,
        value,
    };
    let workgroups = plan.workgroups(target.len.div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
