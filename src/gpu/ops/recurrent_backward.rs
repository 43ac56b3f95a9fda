//! The steps of a recurrent layer backwards: a dispatch packs the weights, one walks the steps, or one or two do each of them, and one is for
//! the initial state.

use super::pack_recurrent::Constants;
use super::recurrence::{Part, Recurrence, ZoneoutParams};
use super::{flag, offset};
use crate::error::Result;
use crate::gpu::compose::{FINISH_BACKWARD, PHILOX, RECURRENT, Tile, WEIGHT, WEIGHT_HALF};
use crate::gpu::kernel::kernel;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::recurrent_choice::RecurrentChoice;
use crate::program::{self, GatesLayout, RecurrentShape};

kernel! {
    /// Steps backwards, each a product and what follows from it
    RecurrentBackward = "recurrent_backward", RecurrentBackwardParams {
        steps: u32, batch: u32, hidden: u32, output: u32, directions: u32, step: u32, count: u32, project_at: u32,
        diagonal: u32, mask: u32, saved: u32, d_y: u32, lengths: u32, d_state: u32, d_diagonal: u32, d_x: u32,
        d_r: u32, d_h: u32, has_d_last: u32, rng: u32, site: u32, zoneout_random: u32, zoneout_threshold_h: u32,
        zoneout_threshold_c: u32, zoneout_rate_h: f32, zoneout_rate_c: f32, segment_first: u32,
        segment_total: u32,
    }
    bindings {
        weight: Read, saved: Read, d_y: Read, lengths: Read,
        d_state: ReadWrite, d_gates: ReadWrite,
    }
    libraries [PHILOX, RECURRENT, FINISH_BACKWARD]
    weights [WEIGHT, WEIGHT_HALF]
    overrides ["PHASE", "SECOND", "RESIDENT", "LAST", "AFTER_FIRST", "RAGGED", "MASKED", "ZONEOUT", "UNITS"]
    cell: true
}

/// What a dispatch does of a step; numbered as in the shader.
const WHOLE: u32 = 0;
const INNER: u32 = 1;
const PROJECT: u32 = 2;
const CELL: u32 = 3;
const NONE: u32 = 4;

pub(super) fn lower(op: &program::RecurrentBackward, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let RecurrentShape {
        steps,
        batch,
        hidden,
        output,
        directions,
    } = op.shape;
    let packed = Constants {
        shape: op.shape,
        gates: op.cell.gates(),
        diagonals: op.cell.diagonals(),
        weights: op.weights,
        mask: op.mask,
        transposed: true,
    }
    .pack(plan)?;
    let projected = op.weights.weight_hr.is_some();
    let phases: &[u32] = match (op.cell.has_late_gates(), projected) {
        (true, _) => &[WHOLE, INNER],
        (false, true) => &[PROJECT, CELL],
        (false, false) => &[WHOLE],
    };
    let mut choice = plan.recurrent_choice(&op.shape, op.cell.gates());
    if op.mask.is_some() {
        // Every sum is multiplied by a number of its own.
        (choice.rows, choice.outputs) = (choice.rows.min(2), 1);
    }
    let mut recurrence = Recurrence {
        cell: &op.cell,
        shape: op.shape,
        choice,
        units: choice.outputs,
        tile: Tile {
            rows: choice.rows as u32,
            outputs: choice.outputs as u32,
            inputs: 1,
            subgroups: choice.subgroups,
        },
    };
    let zoneout = ZoneoutParams::new(op.zoneout);
    let layout = GatesLayout::new(&op.cell, &op.shape, projected);
    let gates = |part: usize| (op.d_gates.offset + part) as u32;
    let state_end = op.d_state.offset + op.shape.state_offset(op.cell.states());
    let kernel = RecurrentBackward {
        weight: &packed.buffer,
        saved: plan.buffer(op.saved.tensor),
        d_y: plan.buffer(op.d_y.tensor),
        lengths: &plan.read_or_unused(op.lengths.or(zoneout.rng)),
        d_state: plan.buffer(op.d_state.tensor),
        d_gates: plan.buffer(op.d_gates.tensor),
    };
    let mut add = |recurrence: &Recurrence<'_>, part: &Part, after_first: bool| {
        let (phase, second) = part.phases;
        // Counted from the last step on.
        let step = steps - 1 - part.steps.start;
        let last = part.steps.start == 0 && !after_first;
        let overrides = vec![
            ("PHASE", f64::from(phase)),
            ("SECOND", f64::from(second.unwrap_or(NONE))),
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
            count: part.steps.len() as u32,
            project_at: packed.projection,
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
        let units = if phase == PROJECT { output } else { hidden };
        recurrence.dispatch(plan, &kernel, params, overrides, units)
    };
    for part in recurrence.parts(phases) {
        add(&recurrence, &part, false)?;
    }
    if op.wants_initial {
        recurrence.choice = RecurrentChoice {
            resident: false,
            ..choice
        };
        let part = Part {
            phases: (phases[0], None),
            steps: steps - 1..steps,
        };
        add(&recurrence, &part, true)?;
    }
    Ok(())
}
