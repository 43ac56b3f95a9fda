//! Rows added up by their index.

use super::{GROUP, flag};
use crate::error::Result;
use crate::gpu::compose::EACH_INVOCATION;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// output\[v\] = Σ over the n with indices\[n\] = v of input\[n\] (+ output\[v\])
    Scatter = "scatter", ScatterParams {
        count: u32, rows: u32, columns: u32, input: u32, input_stride: u32, indices: u32, output: u32,
        output_stride: u32, accumulate: u32,
    }
    bindings { input: Read, indices: Read, output: ReadWrite }
    libraries [EACH_INVOCATION]
}

/// Indices that a dispatch looks at: Mesa's llvmpipe ends all loops of an invocation after 65,535 rounds.
const INDICES: usize = 32_768;

pub(super) fn lower(op: &program::Scatter, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let kernel = Scatter {
        input: plan.buffer(op.input.tensor),
        indices: plan.buffer(op.indices.tensor),
        output: plan.buffer(op.output.tensor),
    };
    let elements = op.output.rows * op.output.columns;
    let workgroups = plan.workgroups(elements.div_ceil(GROUP), 1)?;
    let count = op.input.rows;
    for first in (0..count.max(1)).step_by(INDICES) {
        let params = ScatterParams {
            count: INDICES.min(count - first) as u32,
            rows: op.output.rows as u32,
            columns: op.output.columns as u32,
            input: (op.input.offset + first * op.input.row_stride) as u32,
            input_stride: op.input.row_stride as u32,
            indices: (op.indices.offset + first) as u32,
            output: op.output.offset as u32,
            output_stride: op.output.row_stride as u32,
            accumulate: flag(op.accumulate || first > 0),
        };
        plan.dispatch(&kernel, &Variant::default(), params, workgroups)?;
    }
    Ok(())
}
