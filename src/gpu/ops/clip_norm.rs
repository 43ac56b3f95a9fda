//! The global gradient norm and what scales it down.

use super::{GROUP, PARTIALS};
use crate::error::Result;
use crate::gpu::compose::ROW;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// clip = \[norm, min(1, max_norm / (norm + 1e-6))\]
    ClipNorm = "clip_norm", ClipNormParams { len: u32, invocations: u32, gradient: u32, clip: u32, max_norm: f32 }
    bindings { gradient: Read, partial: ReadWrite, clip: ReadWrite }
    libraries [ROW]
    overrides ["FINISH"]
}

pub(super) fn lower(op: &program::ClipNorm, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let invocations = op.gradient.len.div_ceil(16).clamp(1, PARTIALS);
    let partial = plan.scratch("partial squares", invocations)?;
    let kernel = ClipNorm {
        gradient: plan.buffer(op.gradient.tensor),
        partial: &partial,
        clip: plan.buffer(op.clip.tensor),
    };
    let params = ClipNormParams {
        len: op.gradient.len as u32,
        invocations: invocations as u32,
        gradient: op.gradient.offset as u32,
        clip: op.clip.offset as u32,
        max_norm: op.max_norm as f32,
    };
    let workgroups = plan.workgroups(invocations.div_ceil(GROUP), 1)?;
    let pass = |finish: f64| Variant {
        overrides: vec![("FINISH", finish)],
        ..Variant::default()
    };
    plan.dispatch(&kernel, &pass(0.0), params, workgroups)?;
    plan.dispatch(&kernel, &pass(1.0), params, [1, 1, 1])
}
