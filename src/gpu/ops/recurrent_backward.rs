//! The steps of a recurrent layer backwards: one dispatch a step, and one for the initial state.

use super::recurrent_forward::recurrent_workgroups;
use super::{flag, offset};
use crate::error::Result;
use crate::gpu::kernel::{ROWS, kernel};
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::program;

kernel! {
    /// The gradient of h_t from d_y, from the step after and through R; then the cell
    RecurrentBackward = "recurrent_backward", RecurrentBackwardParams {
        steps: u32, batch: u32, hidden: u32, directions: u32, step: u32, state_stride: u32,
        weight: u32, weight_stride: u32, saved: u32, d_y: u32, lengths: u32, d_state: u32, d_x: u32, d_r: u32,
        has_d_last: u32,
    }
    bindings {
        weight: Read, saved: Read, d_y: Read, lengths: Read,
        d_state: ReadWrite, d_x: ReadWrite, d_r: ReadWrite,
    }
    overrides ["LAST", "AFTER_FIRST", "RAGGED", "UNITS"]
    cell: true
}

pub(super) fn lower(op: &program::RecurrentBackward, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let program::RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        state_stride,
    } = op.shape;
    // Where the two gradients are equal, the kernel keeps the one it reads back, d_r, and leaves d_x alone.
    let (d_x, d_r) = match op.d_r {
        Some(d_r) => (Some(op.d_x), d_r),
        None => (None, op.d_x),
    };
    let kernel = RecurrentBackward {
        weight: plan.buffer(op.weight_hh.first.tensor),
        saved: plan.buffer(op.saved.tensor),
        d_y: plan.buffer(op.d_y.tensor),
        lengths: &plan.read_or_unused(op.lengths),
        d_state: plan.buffer(op.d_state.tensor),
        d_x: &plan.write_or_unused(d_x),
        d_r: plan.buffer(d_r.tensor),
    };
    let (units, workgroups) = recurrent_workgroups(&op.shape, plan)?;
    let mut dispatch = |step: usize, last: bool, after_first: bool| {
        let overrides = vec![
            ("LAST", f64::from(flag(last))),
            ("AFTER_FIRST", f64::from(flag(after_first))),
            ("RAGGED", f64::from(flag(op.lengths.is_some()))),
            ("UNITS", f64::from(units)),
        ];
        let params = RecurrentBackwardParams {
            steps: steps as u32,
            batch: batch as u32,
            hidden: hidden as u32,
            directions: directions as u32,
            step: step as u32,
            state_stride: state_stride as u32,
            weight: op.weight_hh.first.offset as u32,
            weight_stride: op.weight_hh.stride as u32,
            saved: op.saved.offset as u32,
            d_y: op.d_y.offset as u32,
            lengths: offset(op.lengths),
            d_state: op.d_state.offset as u32,
            d_x: offset(d_x),
            d_r: d_r.offset as u32,
            has_d_last: flag(op.has_d_last),
        };
        plan.dispatch(
            &kernel,
            &Variant {
                cell: Some((&op.cell, ROWS)),
                overrides,
            },
            params,
            workgroups,
        )
    };
    for step in (0..steps).rev() {
        dispatch(step, step == steps - 1, false)?;
    }
    if op.wants_initial {
        dispatch(0, false, true)
    } else {
        Ok(())
    }
}
