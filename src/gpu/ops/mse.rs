//! Squared error.

use super::{GROUP, PARTIALS, column_sum, flag, offset};
use crate::error::Result;
use crate::gpu::kernel::kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// partial = weight · scale · Σ w (prediction − expected)², gradient = 2 · scale · w (prediction − expected)
    Mse = "mse", MseParams {
        len: u32, invocations: u32, prediction: u32, expected: u32, gradient: u32, has_gradient: u32, scale: f32,
        loss_weight: f32, row_weights: u32, row_width: u32,
    }
    bindings { prediction: Read, expected: Read, row_weights: Read, partial: ReadWrite, gradient: ReadWrite }
}

pub(super) fn lower(op: &program::Mse, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let len = op.prediction.len;
    let invocations = len.div_ceil(16).clamp(1, PARTIALS);
    let partial = plan.scratch("partial losses", invocations)?;
    let kernel = Mse {
        prediction: plan.buffer(op.prediction.tensor),
        expected: plan.buffer(op.target.tensor),
        row_weights: &plan.read_or_unused(op.row_weights),
        partial: &partial,
        gradient: &plan.write_or_unused(op.gradient),
    };
    let params = MseParams {
        len: len as u32,
        invocations: invocations as u32,
        prediction: op.prediction.offset as u32,
        expected: op.target.offset as u32,
        gradient: offset(op.gradient),
        has_gradient: flag(op.gradient.is_some()),
        scale: op.scale as f32,
        loss_weight: op.loss_weight as f32,
        row_weights: offset(op.row_weights),
        row_width: op
            .row_weights
            .map_or(0, |weights| (len / weights.len.max(1)) as u32),
    };
    let workgroups = plan.workgroups(invocations.div_ceil(GROUP), 1)?;
    plan.dispatch(&kernel, &Variant::default(), params, workgroups)?;
    add_loss(plan, &partial, invocations, op.loss)
}

/// loss += Σ partial
pub(super) fn add_loss(
    plan: &mut PlanBuilder<'_>,
    partial: &wgpu::Buffer,
    len: usize,
    loss: program::Slice,
) -> Result<()> {
    // Only the matrix's shape is used: its tensor is the scratch buffer.
    let column = program::Matrix {
        tensor: loss.tensor,
        offset: 0,
        rows: len,
        columns: 1,
        row_stride: 1,
    };
    column_sum::sum(
        plan,
        (partial, column),
        (plan.buffer(loss.tensor), loss.offset),
    )
}
