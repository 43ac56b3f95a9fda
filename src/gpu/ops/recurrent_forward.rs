//! The steps of a recurrent layer: one dispatch packs the weights, then one or two a step.

use super::pack_recurrent::Constants;
use super::{GROUP, flag, offset};
use crate::error::Result;
use crate::gpu::compose::{FINISH_FORWARD, PHILOX, RECURRENT};
use crate::gpu::kernel::{ROWS, kernel};
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::philox::threshold;
use crate::program::{self, RecurrentShape, Slice, Zoneout};

kernel! {
    /// A phase of a step: a product, then what follows from it
    RecurrentForward = "recurrent_forward", RecurrentForwardParams {
        steps: u32, batch: u32, hidden: u32, output: u32, directions: u32, step: u32, x_gates: u32, bias: u32,
        diagonal: u32, mask: u32, lengths: u32, initial: u32, last: u32, y: u32, inner: u32, early: u32, saved: u32,
        has_initial: u32, has_saved: u32, rng: u32, site: u32, zoneout_random: u32, zoneout_threshold_h: u32,
        zoneout_threshold_c: u32, zoneout_rate_h: f32, zoneout_rate_c: f32, segment_first: u32,
        segment_total: u32,
    }
    bindings {
        x_gates: Read, weight: Read, lengths: Read, initial: Read,
        last: ReadWrite, y: ReadWrite, saved: ReadWrite,
    }
    libraries [PHILOX, RECURRENT, FINISH_FORWARD]
    overrides ["PHASE", "FIRST", "RAGGED", "MASKED", "ZONEOUT", "UNITS"]
    cell: true
}

/// What a dispatch does of a step; numbered as in the shader.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Whole,
    Early,
    Late,
    Cell,
    Project,
}

pub(super) fn lower(op: &program::RecurrentForward, plan: &mut PlanBuilder<'_>) -> Result<()> {
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
        weight: Some(op.weights.weight_hh),
        bias: op.weights.bias_hh,
        diagonal: op.weights.weight_diag,
        mask: op.mask,
    }
    .pack(plan)?;
    let projection = match op.weights.weight_hr {
        None => None,
        weight => Some(
            Constants {
                units: output,
                inputs: hidden,
                gates: 1,
                directions,
                diagonals: 0,
                weight,
                bias: None,
                diagonal: None,
                mask: None,
            }
            .pack(plan)?,
        ),
    };
    let phases: &[Phase] = match (op.cell.has_late_gates(), &projection) {
        (true, _) => &[Phase::Early, Phase::Late],
        (false, Some(_)) => &[Phase::Cell, Phase::Project],
        (false, None) => &[Phase::Whole],
    };
    let zoneout = ZoneoutParams::new(op.zoneout);
    for (step, phase) in (0..steps).flat_map(|step| phases.iter().map(move |phase| (step, *phase)))
    {
        let weight = match (&projection, phase) {
            (Some(projection), Phase::Project) => &projection.buffer,
            _ => &packed.buffer,
        };
        let kernel = RecurrentForward {
            x_gates: plan.buffer(op.x_gates.tensor),
            weight,
            lengths: &plan.read_or_unused(op.lengths.or(zoneout.rng)),
            initial: &plan.read_or_unused(op.initial),
            last: plan.buffer(op.last.tensor),
            y: plan.buffer(op.y.tensor),
            saved: &plan.write_or_unused(op.saved.or(op.inner)),
        };
        let overrides = vec![
            ("PHASE", f64::from(phase as u32)),
            ("FIRST", f64::from(flag(step == 0))),
            ("RAGGED", f64::from(flag(op.lengths.is_some()))),
            ("MASKED", f64::from(flag(op.mask.is_some()))),
            ("ZONEOUT", f64::from(flag(op.zoneout.is_some()))),
        ];
        let inner = offset(op.inner);
        let params = RecurrentForwardParams {
            steps: steps as u32,
            batch: batch as u32,
            hidden: hidden as u32,
            output: output as u32,
            directions: directions as u32,
            step: step as u32,
            x_gates: op.x_gates.offset as u32,
            bias: packed.bias,
            diagonal: packed.diagonal,
            mask: packed.mask,
            lengths: offset(op.lengths),
            initial: offset(op.initial),
            last: op.last.offset as u32,
            y: op.y.offset as u32,
            inner,
            early: inner + (op.shape.rows() * hidden) as u32,
            saved: offset(op.saved),
            has_initial: flag(op.initial.is_some()),
            has_saved: flag(op.saved.is_some()),
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
        )?;
    }
    Ok(())
}

/// Zoneout as the kernels' parameters have it.
pub(super) struct ZoneoutParams {
    pub(super) rng: Option<Slice>,
    pub(super) site: u32,
    pub(super) thresholds: [u32; 2],
    pub(super) rates: [f32; 2],
}

impl ZoneoutParams {
    pub(super) fn new(zoneout: Option<Zoneout>) -> Self {
        let random = zoneout.and_then(|zoneout| zoneout.random);
        let rates = zoneout.map_or([0.0; 2], |zoneout| zoneout.rates);
        Self {
            rng: random.map(|(rng, _)| rng),
            site: random.map_or(0, |(_, site)| site),
            thresholds: rates.map(threshold),
            rates: rates.map(|rate| rate as f32),
        }
    }
}

/// A dispatch over units (of one direction) and batch rows, x and y, and directions, z.
pub(super) fn dispatch<K: crate::gpu::kernel::Kernel>(
    plan: &mut PlanBuilder<'_>,
    kernel: &K,
    params: K::Params,
    cell: &crate::cell::CellRef,
    mut overrides: Vec<(&'static str, f64)>,
    (units, shape): (usize, &RecurrentShape),
) -> Result<()> {
    // Small layers spread over more workgroups, so that more of a GPU has work.
    let group = if units <= 256 { 32 } else { GROUP };
    overrides.push(("UNITS", group as f64));
    let groups = units.div_ceil(group) * shape.batch.div_ceil(ROWS as usize);
    let workgroups = plan.workgroups(groups, shape.directions)?;
    let cell = Some((cell, ROWS));
    plan.dispatch(kernel, &Variant { cell, overrides }, params, workgroups)
}
