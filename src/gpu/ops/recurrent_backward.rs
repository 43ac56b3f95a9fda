//! The steps of a recurrent layer backwards: one or two dispatches a step, and one for the initial state.

use super::pack_recurrent::Constants;
use super::recurrent_forward::{ZoneoutParams, dispatch};
use super::{flag, offset};
use crate::error::Result;
use crate::gpu::compose::{FINISH_BACKWARD, PHILOX, RECURRENT};
use crate::gpu::kernel::kernel;
use crate::gpu::plan::PlanBuilder;
use crate::program::{self, GatesLayout, RecurrentShape};

kernel! {
    /// A phase of a step backwards: a product, then what follows from it
    RecurrentBackward = "recurrent_backward", RecurrentBackwardParams {
        steps: u32, batch: u32, hidden: u32, output: u32, directions: u32, step: u32, weight: u32, weight_stride: u32,
        diagonal: u32, mask: u32, saved: u32, d_y: u32, lengths: u32, d_state: u32, d_diagonal: u32, d_x: u32,
        d_r: u32, d_h: u32, has_d_last: u32, rng: u32, site: u32, zoneout_random: u32, zoneout_threshold_h: u32,
        zoneout_threshold_c: u32, zoneout_rate_h: f32, zoneout_rate_c: f32, segment_first: u32,
        segment_total: u32,
    }
    bindings {
        weight: Read, saved: Read, d_y: Read, lengths: Read,
        d_state: ReadWrite, d_gates: ReadWrite, constants: Read,
    }
    libraries [PHILOX, RECURRENT, FINISH_BACKWARD]
    overrides ["PHASE", "LAST", "AFTER_FIRST", "RAGGED", "MASKED", "ZONEOUT", "UNITS"]
    cell: true
}

/// What a dispatch does of a step; numbered as in the shader.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Whole,
    Inner,
    Project,
    Cell,
}

pub(super) fn lower(op: &program::RecurrentBackward, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let RecurrentShape {
        steps,
        batch,
        hidden,
        output,
        directions,
    } = op.shape;
    let packed = Constants {
        units: hidden,
        inputs: output,
        gates: op.cell.gates(),
        directions,
        diagonals: op.cell.diagonals(),
        weight: None,
        bias: None,
        diagonal: op.weights.weight_diag,
        mask: op.mask,
    }
    .pack(plan)?;
    let projection = op.weights.weight_hr;
    let phases: &[Phase] = match (op.cell.has_late_gates(), projection) {
        (true, _) => &[Phase::Whole, Phase::Inner],
        (false, Some(_)) => &[Phase::Project, Phase::Cell],
        (false, None) => &[Phase::Whole],
    };
    let zoneout = ZoneoutParams::new(op.zoneout);
    let layout = GatesLayout::new(&op.cell, &op.shape, projection.is_some());
    let gates = |part: usize| (op.d_gates.offset + part) as u32;
    let state_end = op.d_state.offset + op.shape.state_offset(op.cell.states());
    let mut add = |step: usize, phase: Phase, after_first: bool| {
        let weight = match (projection, phase) {
            (Some(projection), Phase::Cell) => projection,
            _ => op.weights.weight_hh,
        };
        let kernel = RecurrentBackward {
            weight: plan.buffer(weight.first.tensor),
            saved: plan.buffer(op.saved.tensor),
            d_y: plan.buffer(op.d_y.tensor),
            lengths: &plan.read_or_unused(op.lengths.or(zoneout.rng)),
            d_state: plan.buffer(op.d_state.tensor),
            d_gates: plan.buffer(op.d_gates.tensor),
            constants: &packed.buffer,
        };
        let last = step == steps - 1 && !after_first;
        let overrides = vec![
            ("PHASE", f64::from(phase as u32)),
            ("LAST", f64::from(flag(last))),
            ("AFTER_FIRST", f64::from(flag(after_first))),
            ("RAGGED", f64::from(flag(op.lengths.is_some()))),
            ("MASKED", f64::from(flag(op.mask.is_some()))),
            ("ZONEOUT", f64::from(flag(op.zoneout.is_some()))),
        ];
        let params = RecurrentBackwardParams {
            steps: steps as u32,
            batch: batch as u32,
            hidden: hidden as u32,
            output: output as u32,
            directions: directions as u32,
            step: step as u32,
            weight: weight.first.offset as u32,
            weight_stride: weight.stride as u32,
            diagonal: packed.diagonal,
            mask: packed.mask,
            saved: op.saved.offset as u32,
            d_y: op.d_y.offset as u32,
            lengths: offset(op.lengths),
            d_state: op.d_state.offset as u32,
            d_diagonal: state_end as u32,
            d_x: gates(layout.d_x),
            d_r: gates(layout.d_r),
            d_h: gates(layout.d_h),
            has_d_last: flag(op.has_d_last),
            rng: offset(zoneout.rng),
            site: zoneout.site,
            zoneout_random: flag(zoneout.rng.is_some()),
            zoneout_threshold_h: zoneout.thresholds[0],
            zoneout_threshold_c: zoneout.thresholds[1],
            zoneout_rate_h: zoneout.rates[0],
            zoneout_rate_c: zoneout.rates[1],
            segment_first: op.segment.first as u32,
            segment_total: op.segment.total as u32,
        };
        let units = if phase == Phase::Project {
            output
        } else {
            hidden
        };
        dispatch(
            plan,
            &kernel,
            params,
            &op.cell,
            overrides,
            (units, &op.shape),
        )
    };
    for step in (0..steps).rev() {
        phases
            .iter()
            .try_for_each(|phase| add(step, *phase, false))?;
    }
    if op.wants_initial {
        add(0, phases[0], true)
    } else {
        Ok(())
    }
}
