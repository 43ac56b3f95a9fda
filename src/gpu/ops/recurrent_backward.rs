//! The steps of a recurrent layer backwards: a dispatch packs the weights, one walks the steps, or
//! one or two do each of them, and one is for the initial state.

use super::carry::{Carry, CarryLayout, StepMemory};
use super::recurrent::LowersRecurrence;
use super::recurrent_steps::{Phase, Recurrence, StepDispatch, ZoneoutParams};
use super::{flag, offset};
use crate::error::Result;
use crate::gpu::compose::{FINISH_BACKWARD, LENGTHS_ZONEOUT, PHILOX, WALK, WEIGHT, WEIGHT_HALF};
use crate::gpu::kernel::kernel;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::recurrent_choice::{INPUTS, RecurrentChoice, RecurrentWalk};
use crate::program::{self, GatesLayout, RecurrentShape};

kernel! {
    /// Steps backwards, each a product and what follows from it
    RecurrentBackward = "recurrent_backward", RecurrentBackwardParams {
        steps: u32, batch: u32, hidden: u32, output: u32, directions: u32, step: u32, count: u32, project_at: u32,
        diagonal: u32, mask: u32, saved: u32, d_y: u32, lengths: u32, d_diagonal: u32, d_r_taken: u32, take_at: u32,
        leave_at: u32, fresh: u32, d_x: u32, d_r: u32, d_h: u32, rng: u32, site: u32, zoneout_random: u32,
        zoneout_threshold_h: u32, zoneout_threshold_c: u32, zoneout_rate_h: f32, zoneout_rate_c: f32, segment_first: u32,
        segment_total: u32,
    }
    bindings {
        weight: Read, saved: Read, d_y: Read, lengths: Read,
        before: Read, after: ReadWrite, d_gates: ReadWrite,
    }
    libraries [PHILOX, LENGTHS_ZONEOUT, WALK, FINISH_BACKWARD]
    weights [WEIGHT, WEIGHT_HALF]
    overrides ["PHASE", "SECOND", "WALK", "AFTER_FIRST", "RAGGED", "MASKED", "ZONEOUT", "UNITS"]
    cell: true
}

impl LowersRecurrence for program::RecurrentBackward {
    fn lower_as(&self, choice: RecurrentChoice, plan: &mut PlanBuilder<'_>) -> Result<()> {
        let RecurrentShape {
            steps,
            batch,
            hidden,
            output,
            directions,
        } = self.shape;
        let projected = self.weights.weight_hr.is_some();
        let phases: &[Phase] = match (self.cell.has_late_gates(), projected) {
            (true, _) => &[Phase::Whole, Phase::Inner],
            (false, true) => &[Phase::Project, Phase::Cell],
            (false, false) => &[Phase::Whole],
        };
        let mut recurrence = Recurrence::new(self, choice, phases, plan)?;
        let packed = recurrence.pack(None, plan)?;
        let zoneout = ZoneoutParams::new(self.zoneout);
        let layout = GatesLayout::new(&self.cell, &self.shape, projected);
        let gates = |at: usize| (self.d_gates.offset + at) as u32;
        let rows = directions * batch;
        let d_diagonal = self.shape.state_offset(self.cell.states());
        let sums = rows * hidden * self.cell.diagonals();
        let d_r_taken = (d_diagonal + sums).next_multiple_of(4);
        let d_r_width = self.cell.gates() * hidden.next_multiple_of(INPUTS);
        let carry_layout = CarryLayout {
            rows,
            width: output,
            h_width: output,
            states: d_diagonal - rows * output,
            sums,
            len: d_r_taken + rows * d_r_width,
        };
        let d_last = Some(self.d_state).filter(|_| self.has_d_last);
        let carry = Carry::new(plan, recurrence.by_device(), carry_layout)?;
        if let Some(d_last) = d_last {
            carry.load(plan, d_last)?;
        }
        let add = |plan: &mut PlanBuilder<'_>,
                   recurrence: &Recurrence<'_>,
                   dispatch: &StepDispatch,
                   memory: StepMemory,
                   after_first: bool| {
            let kernel = RecurrentBackward {
                weight: &packed.buffer,
                saved: plan.buffer(self.saved.tensor),
                d_y: plan.buffer(self.d_y.tensor),
                lengths: &plan.read_or_unused(self.lengths.or(zoneout.rng)),
                before: &memory.before,
                after: &memory.after,
                d_gates: plan.buffer(self.d_gates.tensor),
            };
            let params = RecurrentBackwardParams {
                steps: steps as u32,
                batch: batch as u32,
                hidden: hidden as u32,
                output: output as u32,
                directions: directions as u32,
                // Counted from the last step on.
                step: (steps - 1 - dispatch.steps.start) as u32,
                count: dispatch.steps.len() as u32,
                project_at: packed.projection,
                diagonal: packed.diagonal,
                mask: packed.mask,
                saved: self.saved.offset as u32,
                d_y: self.d_y.offset as u32,
                lengths: offset(self.lengths),
                d_diagonal: d_diagonal as u32,
                d_r_taken: d_r_taken as u32,
                take_at: memory.take_at,
                leave_at: memory.leave_at,
                fresh: flag(memory.fresh),
                d_x: gates(layout.d_x),
                d_r: gates(layout.d_r),
                d_h: gates(layout.d_h),
                rng: offset(zoneout.rng),
                site: zoneout.site,
                zoneout_random: flag(zoneout.rng.is_some()),
                zoneout_threshold_h: zoneout.thresholds[0],
                zoneout_threshold_c: zoneout.thresholds[1],
                zoneout_rate_h: zoneout.rates[0],
                zoneout_rate_c: zoneout.rates[1],
                segment_first: self.segment.first as u32,
                segment_total: self.segment.total as u32,
            };
            let flags = [("AFTER_FIRST", after_first)];
            recurrence.dispatch(plan, &kernel, params, dispatch.phases, &flags)
        };
        for dispatch in recurrence.dispatches(plan) {
            let memory = carry.of_step(plan, dispatch.steps.start, d_last.is_some());
            add(plan, &recurrence, &dispatch, memory, false)?;
        }
        if self.wants_initial || sums > 0 {
            carry.store(plan, steps, self.d_state)?;
        }
        if self.wants_initial {
            recurrence.choice.walk = RecurrentWalk::Device;
            let dispatch = StepDispatch {
                phases: (phases[0], None),
                steps: steps - 1..steps,
            };
            let memory = carry.after_steps(plan, steps, self.d_state);
            add(plan, &recurrence, &dispatch, memory, true)?;
        }
        Ok(())
    }
}
