//! The steps of a recurrent layer: one dispatch packs the weights, then one dispatch a step.

use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::kernel::{ROWS, kernel};
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// `[D][G·H, H]` to `[D, H, H, G]`, and `[D][G·H]` to `[D, H, G]` after it
    PackRecurrent = "pack_recurrent", PackRecurrentParams {
        hidden: u32, gates: u32, directions: u32, weight: u32, weight_stride: u32,
        bias: u32, bias_stride: u32, has_bias: u32,
    }
    bindings { weight: Read, bias: Read, packed: ReadWrite }
}

kernel! {
    /// r = R h₋ + b_hh, then the cell
    RecurrentForward = "recurrent_forward", RecurrentForwardParams {
        steps: u32, batch: u32, hidden: u32, directions: u32, step: u32, state_stride: u32,
        x_gates: u32, lengths: u32, initial: u32, last: u32, y: u32, saved: u32,
        has_initial: u32, has_saved: u32,
    }
    bindings {
        x_gates: Read, weight: Read, lengths: Read, initial: Read,
        last: ReadWrite, y: ReadWrite, saved: ReadWrite,
    }
    overrides ["FIRST", "RAGGED", "UNITS"]
    cell: true
}

pub(super) fn lower(op: &program::RecurrentForward, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        state_stride,
    } = op.shape;
    let gates = op.cell.gates();
    let packed_len = directions * hidden * (hidden + 1) * gates;
    let packed = plan.scratch("packed recurrent weights", packed_len)?;
    let pack = PackRecurrent {
        weight: plan.buffer(op.weight_hh.first.tensor),
        bias: &plan.read_or_unused(op.bias_hh.map(|bias| bias.first)),
        packed: &packed,
    };
    let pack_params = PackRecurrentParams {
        hidden: hidden as u32,
        gates: gates as u32,
        directions: directions as u32,
        weight: op.weight_hh.first.offset as u32,
        weight_stride: op.weight_hh.stride as u32,
        bias: offset(op.bias_hh.map(|bias| bias.first)),
        bias_stride: op.bias_hh.map_or(0, |bias| bias.stride as u32),
        has_bias: flag(op.bias_hh.is_some()),
    };
    let workgroups = plan.workgroups(packed_len.div_ceil(GROUP), 1)?;
    plan.dispatch(&pack, &Variant::default(), pack_params, workgroups)?;

    let kernel = RecurrentForward {
        x_gates: plan.buffer(op.x_gates.tensor),
        weight: &packed,
        lengths: &plan.read_or_unused(op.lengths),
        initial: &plan.read_or_unused(op.initial),
        last: plan.buffer(op.last.tensor),
        y: plan.buffer(op.y.tensor),
        saved: &plan.write_or_unused(op.saved),
    };
    let (units, workgroups) = recurrent_workgroups(&op.shape, plan)?;
    for step in 0..steps {
        let first = step == 0;
        let overrides = vec![
            ("FIRST", f64::from(flag(first))),
            ("RAGGED", f64::from(flag(op.lengths.is_some()))),
            ("UNITS", f64::from(units)),
        ];
        let params = RecurrentForwardParams {
            steps: steps as u32,
            batch: batch as u32,
            hidden: hidden as u32,
            directions: directions as u32,
            step: step as u32,
            state_stride: state_stride as u32,
            x_gates: op.x_gates.offset as u32,
            lengths: offset(op.lengths),
            initial: offset(op.initial),
            last: op.last.offset as u32,
            y: op.y.offset as u32,
            saved: offset(op.saved),
            has_initial: flag(op.initial.is_some()),
            has_saved: flag(op.saved.is_some()),
        };
        plan.dispatch(
            &kernel,
            &Variant {
                cell: Some((&op.cell, ROWS)),
                overrides,
            },
            params,
            workgroups,
        )?;
    }
    Ok(())
}

/// Hidden units a workgroup and the workgroups of a step: x and y over units and batch rows, z over directions.
pub(super) fn recurrent_workgroups(
    shape: &program::RecurrentShape,
    plan: &PlanBuilder<'_>,
) -> Result<(u32, [u32; 3])> {
    // Small layers spread over more workgroups, so that more of a GPU has work.
    let units = if shape.hidden <= 256 { 32 } else { GROUP };
    let groups = shape.hidden.div_ceil(units) * shape.batch.div_ceil(ROWS as usize);
    Ok((units as u32, plan.workgroups(groups, shape.directions)?))
}
