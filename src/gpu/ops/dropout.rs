//! Elements dropped at random.

use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::compose::PHILOX;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::philox::threshold;
use crate::program;

kernel! {
    /// output\[i\] = input\[i\] · m\[i mod period\]
    Dropout = "dropout", DropoutParams {
        len: u32, period: u32, input: u32, output: u32, has_input: u32, rng: u32, site: u32, threshold: u32, kept: f32,
    }
    bindings { input: Read, rng: Read, output: ReadWrite }
    libraries [PHILOX]
}

pub(super) fn lower(op: &program::Dropout, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let kernel = Dropout {
        input: &plan.read_or_unused(op.input),
        rng: plan.buffer(op.rng.tensor),
        output: plan.buffer(op.output.tensor),
    };
    let params = DropoutParams {
        len: op.output.len as u32,
        period: op.period as u32,
        input: offset(op.input),
        output: op.output.offset as u32,
        has_input: flag(op.input.is_some()),
        rng: op.rng.offset as u32,
        site: op.site,
        threshold: threshold(op.rate),
        kept: (1.0 / (1.0 - op.rate)) as f32,
    };
    let workgroups = plan.workgroups(op.output.len.div_ceil(4 * GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)
}
