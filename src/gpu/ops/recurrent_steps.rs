//! Which dispatches walk the steps of a recurrence, in both directions of time.

use super::flag;
use super::input_product::InputWeights;
use super::pack_recurrent::{Constants, Packed};
use crate::error::Result;
use crate::gpu::compose::Tile;
use crate::gpu::context::check_limit;
use crate::gpu::kernel::Kernel;
use crate::gpu::pipeline::Variant;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::recurrent_choice::{INPUTS, RecurrentChoice, RecurrentWalk, SUBGROUP};
use crate::philox::threshold;
use crate::program::{RecurrentOp, RecurrentOperands};
use crate::program::{RecurrentShape, Slice, Zoneout};
use std::ops::Range;

/// Rounds of all loops of an invocation in one dispatch: Mesa's llvmpipe ends all loops, without a
/// word, after 65,535 rounds together. It bounds a dispatch's time as well, which drivers do.
const ROUNDS: usize = 20_000;

/// Rounds that a step may take: within what llvmpipe does.
const STEP_ROUNDS: usize = 3 * ROUNDS;

/// The number of no phase, in the shaders.
const NONE: u32 = 99;

/// What a dispatch does of a step; numbered as in `walk.wgsl`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Whole,
    Early,
    Late,
    Inner,
    Cell,
    Project,
}

/// One dispatch of a recurrence.
pub(super) struct StepDispatch {
    /// The phase it does of each step, and what may follow it.
    pub(super) phases: (Phase, Option<Phase>),
    /// The steps, as the recurrence counts them from 0.
    pub(super) steps: Range<usize>,
}

/// A recurrence of a cell on a device.
#[derive(Clone, Copy)]
pub(super) struct Recurrence<'a> {
    pub(super) of: RecurrentOperands<'a>,
    pub(super) choice: RecurrentChoice,
    pub(super) backward: bool,
    /// The phases of a step.
    pub(super) phases: &'static [Phase],
    /// Inputs of the layer that each step's product takes too.
    pub(super) inputs: usize,
}

impl<'a> Recurrence<'a> {
    /// A recurrence as chosen, but walked by the device where a step with all its phases does not fit in a dispatch.
    pub(super) fn new<T: RecurrentOp>(
        op: &'a T,
        choice: RecurrentChoice,
        phases: &'static [Phase],
        plan: &PlanBuilder<'_>,
    ) -> Result<Self> {
        let mut recurrence = Self {
            of: op.operands(),
            choice,
            backward: T::BACKWARD,
            phases,
            inputs: 0,
        };
        if recurrence.rounds(most_invocations(plan)) > STEP_ROUNDS {
            recurrence.choice.walk = RecurrentWalk::Device;
        }
        if recurrence.by_device() && recurrence.most_rounds() > STEP_ROUNDS {
            // The same numbers in the same order, in fewer rounds.
            recurrence.choice.subgroups = false;
            let RecurrentShape { hidden, output, .. } = recurrence.of.shape;
            let name = recurrence.of.cell.name();
            let what =
                format!("a step of {name} with hidden size {hidden} and output size {output}");
            let limit =
                "number of rounds of an invocation's loops; a smaller hidden size needs fewer";
            let (needed, most) = (recurrence.most_rounds() as u64, STEP_ROUNDS as u64);
            check_limit(&what, needed, limit, most)?;
        }
        Ok(recurrence)
    }

    /// What an invocation works on: forward all gates of one unit, backwards some units.
    fn tile(&self) -> Tile {
        let gates = self.of.cell.gates() as u32;
        Tile {
            rows: self.choice.rows as u32,
            outputs: match self.backward {
                true => self.choice.outputs as u32,
                false => gates,
            },
            inputs: match self.of.mask {
                Some(_) if !self.backward => gates,
                _ => 1,
            },
            subgroups: self.choice.subgroups,
        }
    }

    /// What is constant over the steps, packed. `input`: the weights of the inputs, where the steps take their product too.
    pub(super) fn pack(
        &self,
        input: Option<InputWeights>,
        plan: &mut PlanBuilder<'_>,
    ) -> Result<Packed> {
        Constants {
            // The packed numbers do not depend on the steps.
            shape: RecurrentShape {
                steps: 0,
                ..self.of.shape
            },
            gates: self.of.cell.gates(),
            diagonals: self.of.cell.diagonals(),
            weights: self.of.weights,
            mask: self.of.mask,
            input,
            transposed: self.backward,
        }
        .pack(plan)
    }

    /// Whether a dispatch does a phase of one step, and not many steps.
    pub(super) fn by_device(&self) -> bool {
        self.choice.walk == RecurrentWalk::Device
    }

    /// Whether an invocation walks the steps by itself.
    pub(super) fn by_invocation(&self) -> bool {
        self.choice.walk == RecurrentWalk::Invocation
    }

    /// The dispatches over all steps, each with one or two phases.
    pub(super) fn dispatches(&self, plan: &PlanBuilder<'_>) -> Vec<StepDispatch> {
        let (steps, phases) = (self.of.shape.steps, self.phases);
        let first = phases[0];
        let second = phases.get(1).copied();
        if !self.by_device() {
            let most = (ROUNDS / self.rounds(most_invocations(plan))).max(1);
            return (0..steps)
                .step_by(most)
                .map(|start| StepDispatch {
                    phases: (first, second),
                    steps: start..(start + most).min(steps),
                })
                .collect();
        }
        (0..steps)
            .flat_map(|step| {
                phases.iter().map(move |phase| StepDispatch {
                    phases: (*phase, None),
                    steps: step..step + 1,
                })
            })
            .collect()
    }

    /// The rounds of loops that a step takes at most, in workgroups of `most` invocations.
    fn rounds(&self, most: usize) -> usize {
        let RecurrentShape { hidden, output, .. } = self.of.shape;
        let widest = hidden.max(output);
        let sharing = if self.by_invocation() {
            1
        } else {
            self.invocations(widest, most)
        };
        let blocks = widest.div_ceil(sharing * self.choice.outputs);
        let gates = self.of.cell.gates();
        self.phases.len() * blocks * (gates * (self.product_rounds(widest) + 1) + self.around())
    }

    /// The rounds that a product of so many inputs takes: one takes 4 inputs, and with subgroups eight of them are a round of another
    /// loop.
    fn product_rounds(&self, inputs: usize) -> usize {
        match self.choice.subgroups {
            true => inputs.div_ceil(INPUTS) * 9,
            false => inputs.div_ceil(4),
        }
    }

    /// The rounds that an invocation takes around a product. Drivers unroll the loops of known length.
    fn around(&self) -> usize {
        let units = if self.backward {
            self.choice.outputs
        } else {
            1
        };
        let of_row = 3 + units + self.inputs * (self.of.cell.gates() + 1);
        of_row * self.choice.rows + 8
    }

    /// The most rounds of a dispatch of one phase of one step.
    fn most_rounds(&self) -> usize {
        let RecurrentShape { hidden, output, .. } = self.of.shape;
        let gates = self.of.cell.gates();
        let rounds = |phase: &Phase| {
            let inputs = match (phase, self.backward) {
                (Phase::Late | Phase::Inner | Phase::Project, _) => hidden,
                (Phase::Cell, true) | (_, false) => output,
                _ => hidden,
            };
            // Backwards every gate has its own loops.
            let loops = match (self.backward, phase) {
                (false, _) | (true, Phase::Cell) => 1,
                _ => gates,
            };
            loops * (self.product_rounds(inputs) + 1) + self.around()
        };
        self.phases.iter().map(rounds).max().unwrap_or(0)
    }

    /// Invocations of a workgroup, on a device that allows `most`.
    fn invocations(&self, units: usize, most: usize) -> usize {
        if self.by_invocation() {
            // Of as many batch rows; one number, as each is a pipeline.
            return most.min(32);
        }
        let wanted = units.div_ceil(self.choice.outputs);
        if !self.by_device() {
            return wanted.next_multiple_of(32).min(most).min(256);
        }
        // Small layers spread over more workgroups, so that more of a GPU has work.
        if wanted <= 256 { 32 } else { 64 }
    }

    /// Groups of batch rows that an invocation takes.
    fn tiles(&self) -> usize {
        self.of.shape.batch.div_ceil(self.choice.rows)
    }

    /// Appends a dispatch. `flags`: override constants that this direction of time has alone.
    pub(super) fn dispatch<K: Kernel>(
        &self,
        plan: &mut PlanBuilder<'_>,
        kernel: &K,
        params: K::Params,
        (phase, second): (Phase, Option<Phase>),
        flags: &[(&'static str, bool)],
    ) -> Result<()> {
        let RecurrentShape { hidden, output, .. } = self.of.shape;
        let units = match (self.by_device(), phase) {
            // A dispatch of many steps does both phases.
            (false, _) => hidden.max(output),
            (true, Phase::Project) => output,
            (true, _) => hidden,
        };
        let invocations = self.invocations(units, most_invocations(plan));
        let options = [
            ("RAGGED", self.of.lengths.is_some()),
            ("MASKED", self.of.mask.is_some()),
            ("ZONEOUT", self.of.zoneout.is_some()),
        ];
        let flags = options.iter().chain(flags);
        let flags = flags.map(|(name, set)| (*name, f64::from(flag(*set))));
        let numbers = [
            ("PHASE", f64::from(phase as u32)),
            ("SECOND", second.map_or(NONE, |phase| phase as u32).into()),
            ("UNITS", invocations as f64),
            ("WALK", f64::from(self.choice.walk as u32)),
        ];
        let workgroups = match self.choice.walk {
            RecurrentWalk::Device => {
                self.tiles() * units.div_ceil(invocations * self.choice.outputs)
            }
            RecurrentWalk::Workgroup => self.tiles(),
            RecurrentWalk::Invocation => self.tiles().div_ceil(invocations),
        };
        let workgroups = plan.workgroups(workgroups, self.of.shape.directions)?;
        let variant = Variant {
            cell: Some((self.of.cell, self.tile())),
            overrides: numbers.into_iter().chain(flags).collect(),
            half: plan.half,
        };
        plan.dispatch(kernel, &variant, params, workgroups)
    }
}

/// The invocations that a workgroup can have, in whole subgroups.
fn most_invocations(plan: &PlanBuilder<'_>) -> usize {
    let limits = &plan.context().limits;
    let most = limits
        .max_compute_invocations_per_workgroup
        .min(limits.max_compute_workgroup_size_x);
    (most / SUBGROUP * SUBGROUP).max(1) as usize
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
