//! Maps, rows and sums, each a kernel generated from its expression, and a user's own kernels.

use super::GROUP;
use crate::error::Result;
use crate::gpu::context::check_limit;
use crate::gpu::generate::{self, Generated, ROUNDS, Source, reduce_split};
use crate::gpu::plan::PlanBuilder;
use crate::program::{Custom, Map, Reduce, Row, Slice, TensorId, product};

pub(super) fn map(op: &Map, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let workgroups = plan.workgroups(op.0.len().div_ceil(GROUP), 1)?;
    dispatch(plan, generate::map(&op.0), None, workgroups)
}

pub(super) fn row(op: &Row, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let (kept, folded) = op.0.split_shape();
    let columns = product(folded);
    // Each turn and the elements are a loop over a row.
    let most = 3 * ROUNDS * GROUP / (op.0.body.turns().len() + 1);
    let (what, limit) = (
        format!("rows of {}", op.0.name),
        "number of columns a workgroup takes",
    );
    check_limit(&what, columns as u64, limit, most as u64)?;
    let workgroups = plan.workgroups(product(kept), 1)?;
    dispatch(plan, generate::row(&op.0), None, workgroups)
}

pub(super) fn reduce(op: &Reduce, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let split = reduce_split(&op.0);
    let workgroups = plan.workgroups((split.rows * split.blocks).div_ceil(GROUP), 1)?;
    if split.blocks == 1 {
        return dispatch(plan, generate::part(&op.0, &split), None, workgroups);
    }
    let len = split.rows * split.blocks * op.0.body.statistics.len();
    let partial = plan.scratch("partial sums", len)?;
    dispatch(
        plan,
        generate::part(&op.0, &split),
        Some(&partial),
        workgroups,
    )?;
    let workgroups = match split.by_workgroup {
        true => plan.workgroups(split.rows, 1)?,
        false => plan.workgroups(split.rows.div_ceil(GROUP), 1)?,
    };
    dispatch(
        plan,
        generate::finish(&op.0, &split),
        Some(&partial),
        workgroups,
    )
}

pub(super) fn custom(op: &Custom, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let shapes: Vec<&[usize]> = op.outputs.iter().map(|(_, shape)| &shape[..]).collect();
    let invocations = op.operation.invocations(&shapes);
    let workgroups = plan.workgroups(invocations.div_ceil(GROUP), 1)?;
    dispatch(plan, generate::custom(op, invocations), None, workgroups)
}

fn dispatch(
    plan: &mut PlanBuilder<'_>,
    generated: Generated,
    partial: Option<&wgpu::Buffer>,
    workgroups: [u32; 3],
) -> Result<()> {
    let buffers = generated
        .bindings
        .iter()
        .map(|bound| match (bound.source, partial) {
            (Source::Tensor(id), _) => plan.buffer(id).clone(),
            (Source::Partial, Some(partial)) => partial.clone(),
            (Source::Partial, None) => unreachable!("split sums have room for their parts"),
        });
    let buffers = buffers.collect();
    plan.dispatch_generated(&generated, buffers, workgroups)
}

/// Zeros in a part of a buffer, whether it is a tensor's or an operation's own.
pub(super) fn fill(
    plan: &mut PlanBuilder<'_>,
    buffer: &wgpu::Buffer,
    offset: usize,
    len: usize,
) -> Result<()> {
    let anywhere = Slice {
        tensor: TensorId(0),
        offset,
        len,
    };
    let generated = generate::map(&Map::fill(anywhere, 0.0).0);
    let workgroups = plan.workgroups(len.div_ceil(GROUP), 1)?;
    plan.dispatch_generated(&generated, vec![buffer.clone()], workgroups)
}
