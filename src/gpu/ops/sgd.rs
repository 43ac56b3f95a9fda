//! Stochastic gradient descent.

use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// g += decay·p; v = momentum·v + g; p −= rate·(g, or v, or g + momentum·v)
    Sgd = "sgd", SgdParams {
        len: u32, parameter: u32, gradient: u32, velocity: u32, scalars: u32, clip: u32,
        has_velocity: u32, nesterov: u32, has_clip: u32,
    }
    bindings { gradient: Read, scalars: Read, clip: Read, parameter: ReadWrite, velocity: ReadWrite }
}

pub(super) fn lower(op: &program::Sgd, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let kernel = Sgd {
        gradient: plan.buffer(op.gradient.tensor),
        scalars: plan.buffer(op.scalars.tensor),
        clip: &plan.read_or_unused(op.clip),
        parameter: plan.buffer(op.parameter.tensor),
        velocity: &plan.write_or_unused(op.momentum),
    };
    let params = SgdParams {
        len: op.parameter.len as u32,
        parameter: op.parameter.offset as u32,
        gradient: op.gradient.offset as u32,
        velocity: offset(op.momentum),
        scalars: op.scalars.offset as u32,
        clip: offset(op.clip),
        has_velocity: flag(op.momentum.is_some()),
        nesterov: flag(op.nesterov),
        has_clip: flag(op.clip.is_some()),
    };
    let workgroups = plan.workgroups(op.parameter.len.div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
