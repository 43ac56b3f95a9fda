//! Adam and AdamW.

use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// g += decay·p; p *= kept; m = β₁m + (1−β₁)g; v = β₂v + (1−β₂)g²; p −= rate·m / (√v/√c₂ + ε)
    Adam = "adam", AdamParams {
        len: u32, parameter: u32, gradient: u32, first_moment: u32, second_moment: u32, scalars: u32, clip: u32,
        has_clip: u32,
    }
    bindings {
        gradient: Read, scalars: Read, clip: Read,
        parameter: ReadWrite, first_moment: ReadWrite, second_moment: ReadWrite,
    }
}

pub(super) fn lower(op: &program::Adam, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let kernel = Adam {
        gradient: plan.buffer(op.gradient.tensor),
        scalars: plan.buffer(op.scalars.tensor),
        clip: &plan.read_or_unused(op.clip),
        parameter: plan.buffer(op.parameter.tensor),
        first_moment: plan.buffer(op.first_moment.tensor),
        second_moment: plan.buffer(op.second_moment.tensor),
    };
    let params = AdamParams {
        len: op.parameter.len as u32,
        parameter: op.parameter.offset as u32,
        gradient: op.gradient.offset as u32,
        first_moment: op.first_moment.offset as u32,
        second_moment: op.second_moment.offset as u32,
        scalars: op.scalars.offset as u32,
        clip: offset(op.clip),
        has_clip: flag(op.clip.is_some()),
    };
    let workgroups = plan.workgroups(op.parameter.len.div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
