//! The steps of a recurrent layer: a dispatch packs the weights, then one walks the steps, or one or two do each of them.

use super::carry::{Carry, CarryLayout};
use super::input_product::{self, InputProduct};
use super::recurrent::LowersRecurrence;
use super::recurrent_steps::{Phase, Recurrence, ZoneoutParams};
use super::{flag, offset};
use crate::error::Result;
use crate::gpu::compose::{FINISH_FORWARD, LENGTHS_ZONEOUT, PHILOX, WALK, WEIGHT, WEIGHT_HALF};
use crate::gpu::kernel::kernel;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::recurrent_choice::{INPUTS, RecurrentChoice};
use crate::program::{self, RecurrentShape};

kernel! {
    /// Steps, each a product and what follows from it
    RecurrentForward = "recurrent_forward", RecurrentForwardParams {
        steps: u32, batch: u32, hidden: u32, output: u32, directions: u32, step: u32, count: u32, project_at: u32,
        x_gates: u32, x_back: u32, x_stride: u32, inputs: u32, input_at: u32, bias: u32, diagonal: u32, mask: u32,
        lengths: u32, h_width: u32, leave_width: u32, take_at: u32, leave_at: u32, fresh: u32, y: u32, inner: u32, early: u32,
        saved: u32, rng: u32, site: u32, zoneout_random: u32, zoneout_threshold_h: u32, zoneout_threshold_c: u32,
        zoneout_rate_h: f32, zoneout_rate_c: f32, segment_first: u32, segment_total: u32,
    }
    bindings {
        x_gates: Read, weight: Read, lengths: Read, before: Read,
        after: ReadWrite, y: ReadWrite, saved: ReadWrite,
    }
    libraries [PHILOX, LENGTHS_ZONEOUT, WALK, FINISH_FORWARD]
    weights [WEIGHT, WEIGHT_HALF]
    overrides ["PHASE", "SECOND", "WALK", "FOLDED", "KEEPS", "RAGGED", "MASKED", "ZONEOUT", "UNITS"]
    cell: true
}

impl LowersRecurrence for program::RecurrentForward {
    fn lower_as(&self, choice: RecurrentChoice, plan: &mut PlanBuilder<'_>) -> Result<()> {
        let RecurrentShape {
            steps,
            batch,
            hidden,
            output,
            directions,
        } = self.shape;
        let phases: &[Phase] = match (self.cell.has_late_gates(), self.weights.weight_hr) {
            (true, _) => &[Phase::Early, Phase::Late],
            (false, Some(_)) => &[Phase::Cell, Phase::Project],
            (false, None) => &[Phase::Whole],
        };
        let mut recurrence = Recurrence::new(self, choice, phases, plan)?;
        let folded = InputProduct::of(&self.products, &recurrence, plan);
        match folded {
            Some(product) => recurrence.inputs = product.weights.inputs,
            None => input_product::lower(&self.products, plan)?,
        }
        let packed = recurrence.pack(folded.map(|product| product.weights), plan)?;
        let zoneout = ZoneoutParams::new(self.zoneout);
        let h_width = output.next_multiple_of(INPUTS);
        let rows = directions * batch;
        let states = rows * hidden * (self.cell.states() - 1);
        let layout = CarryLayout {
            rows,
            width: output,
            h_width,
            states,
            sums: 0,
            len: (rows * h_width + states).next_multiple_of(4),
        };
        let carry = Carry::new(plan, recurrence.by_device(), layout)?;
        if let Some(initial) = self.initial {
            carry.load(plan, initial)?;
        }
        let wants_last = !plan.is_unread(self.last.tensor);
        let inner = offset(self.inner);
        let x = folded.map_or(self.x_gates, |product| product.x.extent());
        for dispatch in recurrence.dispatches(plan) {
            let mut memory = carry.of_step(plan, dispatch.steps.start, self.initial.is_some());
            let ends = wants_last && dispatch.steps.end == steps && recurrence.by_device();
            if ends {
                // The last step leaves the states where they are wanted.
                memory.after = plan.buffer(self.last.tensor).clone();
                memory.leave_at = self.last.offset as u32;
            }
            let kernel = RecurrentForward {
                x_gates: plan.buffer(x.tensor),
                weight: &packed.buffer,
                lengths: &plan.read_or_unused(self.lengths.or(zoneout.rng)),
                before: &memory.before,
                after: &memory.after,
                y: plan.buffer(self.y.tensor),
                saved: &plan.write_or_unused(self.saved.or(self.inner)),
            };
            let flags = [
                ("FOLDED", folded.is_some()),
                ("KEEPS", self.saved.is_some()),
            ];
            let params = RecurrentForwardParams {
                steps: steps as u32,
                batch: batch as u32,
                hidden: hidden as u32,
                output: output as u32,
                directions: directions as u32,
                step: dispatch.steps.start as u32,
                count: dispatch.steps.len() as u32,
                project_at: packed.projection,
                x_gates: x.offset as u32,
                x_back: folded.map_or(0, |product| product.x_back as u32),
                x_stride: folded.map_or(0, |product| product.x.row_stride as u32),
                inputs: recurrence.inputs as u32,
                input_at: packed.input,
                bias: packed.bias,
                diagonal: packed.diagonal,
                mask: packed.mask,
                lengths: offset(self.lengths),
                h_width: h_width as u32,
                leave_width: if ends { output } else { h_width } as u32,
                take_at: memory.take_at,
                leave_at: memory.leave_at,
                fresh: flag(memory.fresh),
                y: self.y.offset as u32,
                inner,
                early: inner + (self.shape.rows() * hidden) as u32,
                saved: offset(self.saved),
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
            recurrence.dispatch(plan, &kernel, params, dispatch.phases, &flags)?;
        }
        if wants_last && !recurrence.by_device() {
            carry.store(plan, steps, self.last)?;
        }
        Ok(())
    }
}
