//! How a recurrence runs, by measurement: the operation itself over few steps and memory of its own.

use crate::CellRef;
use crate::error::Result;
use crate::gpu::plan::{Plan, PlanBuilder};
use crate::gpu::recurrent_choice::RecurrentChoice;
use crate::gpu::{Buffer, Context};
use crate::program::{PerDirection, Program, RecurrentShape, RecurrentWeights, Segment, Slice};

/// Steps and elements of `[T, B, D, G·H]` of a trial, at most, but two steps.
const STEPS: usize = 32;
const ELEMENTS: usize = 1 << 22;

/// What the choice depends on, the same in both directions of time.
pub(super) struct Parts<'a> {
    pub(super) cell: &'a CellRef,
    pub(super) shape: RecurrentShape,
    pub(super) weights: RecurrentWeights,
    pub(super) mask: Option<Slice>,
}

/// An operation that a [`RecurrentChoice`] says how to run.
pub(super) trait Recurrent: Sized {
    /// What it is, one word.
    const NAME: &'static str;

    fn parts(&self) -> Parts<'_>;

    /// The operation over all of a trial's steps and over tensors that it adds, without zoneout, lengths or states.
    fn trial(&self, trial: &mut Trial) -> Self;

    /// What a choice comes down to for this operation.
    fn effective(&self, choice: RecurrentChoice) -> RecurrentChoice;

    /// Appends the dispatches of an effective choice.
    fn lower_as(&self, choice: RecurrentChoice, plan: &mut PlanBuilder<'_>) -> Result<()>;
}

/// What trials of both directions need.
pub(super) struct Trial {
    pub(super) program: Program,
    pub(super) shape: RecurrentShape,
    pub(super) segment: Segment,
    pub(super) weights: RecurrentWeights,
    pub(super) mask: Option<Slice>,
}

impl Trial {
    fn new(op: &impl Recurrent) -> Self {
        let Parts {
            cell,
            shape,
            weights: of,
            mask,
        } = op.parts();
        let gates = cell.gates() * shape.hidden;
        let RecurrentShape {
            batch,
            hidden,
            output,
            directions,
            ..
        } = shape;
        let most = ELEMENTS / (batch * directions * gates).max(1);
        let shape = RecurrentShape {
            steps: shape.steps.min(STEPS).min(most.max(2)),
            ..shape
        };
        let mut program = Program::new();
        let mut each = |name: &str, of: Option<PerDirection>, len: usize| {
            of.map(|_| PerDirection {
                first: program.tensor(name, &[directions, len]).part(0, len),
                stride: len,
            })
        };
        let weights = RecurrentWeights {
            weight_hh: each("weight_hh", Some(of.weight_hh), gates * output)
                .unwrap_or(of.weight_hh),
            bias_hh: each("bias_hh", of.bias_hh, gates),
            weight_hr: each("weight_hr", of.weight_hr, output * hidden),
            weight_diag: each("weight_diag", of.weight_diag, cell.diagonals() * hidden),
        };
        let mask_shape = [directions, batch, cell.gates(), output];
        let mask = mask.map(|_| program.tensor("mask", &mask_shape));
        Self {
            segment: Segment::whole(&shape),
            program,
            shape,
            weights,
            mask,
        }
    }
}

/// Appends an operation's dispatches the way that was forced, or else is the fastest.
pub(super) fn lower<T: Recurrent>(op: &T, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let context = plan.context();
    let choice = match context.forced_recurrent_choice() {
        Some(choice) => choice,
        None => {
            let Parts { cell, shape, .. } = op.parts();
            let mut candidates = vec![];
            for choice in context.recurrent_choices(&shape, cell.gates()) {
                let choice = op.effective(choice);
                if !candidates.contains(&choice) {
                    candidates.push(choice);
                }
            }
            let trial = |_, choice, repeats| trial(context, op, choice, repeats);
            context
                .tuner
                .choose(context, &class(op, plan.half), &candidates, trial)?
        }
    };
    op.lower_as(op.effective(choice), plan)
}

fn trial<T: Recurrent>(
    context: &Context,
    op: &T,
    choice: RecurrentChoice,
    repeats: usize,
) -> Result<Plan> {
    let mut trial = Trial::new(op);
    let op = op.trial(&mut trial);
    let buffers = (trial.program.tensors().iter())
        .map(|spec| Ok(Buffer::new(context.storage(&spec.name, spec.len())?)))
        .collect::<Result<Vec<_>>>()?;
    let mut plan = PlanBuilder::new(context, &buffers)?;
    for _ in 0..repeats {
        op.lower_as(op.effective(choice), &mut plan)?;
    }
    plan.finish()
}

/// Recurrences of one class share a choice: a cell, sizes to a factor of two, the options that change the products, and the precision.
fn class<T: Recurrent>(op: &T, half: bool) -> String {
    let Parts {
        cell,
        shape,
        weights,
        mask,
    } = op.parts();
    let [batch, hidden, output] =
        [shape.batch, shape.hidden, shape.output].map(|size| size.max(1).ilog2());
    let (cell, gates) = (cell.name(), cell.gates());
    let projected = weights.weight_hr.map_or("", |_| " projected");
    let masked = mask.map_or("", |_| " masked");
    let half = if half { " half" } else { "" };
    format!(
        "{} {cell} {gates} {batch} {hidden} {output} {}{projected}{masked}{half}",
        T::NAME,
        shape.directions
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{GruUnit, LstmUnit, Reset};
    use crate::device::Precision;
    use crate::gpu::RecurrentWalk::{Device, Invocation, Workgroup};
    use crate::gpu::adapter::Wish;
    use crate::program::{self, Op, TensorId};

    const NOWHERE: Slice = Slice {
        tensor: TensorId(0),
        offset: 0,
        len: 0,
    };

    fn check<T: Recurrent + Into<Op>>(context: &Context, op: &T) {
        let mut short = Trial::new(op);
        let own = op.trial(&mut short);
        short.program.push(own);
        short.program.check().unwrap();
        for (walk, rows) in [(Device, 2), (Workgroup, 1), (Invocation, 1)] {
            let choice = RecurrentChoice::new(walk, rows, 1, false).unwrap();
            let plan = trial(context, op, choice, 2).unwrap();
            plan.run(context, &[], &[]).unwrap();
        }
    }

    /// A trial has tensors for all that its operation has, and runs.
    #[test]
    fn trials_are_consistent() {
        let wish = Wish::from_environment(Wish::Any);
        let Ok(context) = pollster::block_on(Context::open(&wish, Precision::F32)) else {
            return;
        };
        let shape = |output| RecurrentShape {
            steps: 40,
            batch: 3,
            hidden: 5,
            output,
            directions: 2,
        };
        let somewhere = PerDirection {
            first: NOWHERE,
            stride: 0,
        };
        let late = GruUnit {
            reset: Reset::Before,
            ..GruUnit::default()
        };
        for (cell, output) in [
            (CellRef::new(LstmUnit::default()), 5),
            (CellRef::new(LstmUnit::default()), 2),
            (CellRef::new(late), 5),
        ] {
            let projected = output != 5;
            let inner = (projected || cell.has_late_gates()).then_some(NOWHERE);
            let weights = RecurrentWeights {
                weight_hh: somewhere,
                bias_hh: Some(somewhere),
                weight_hr: projected.then_some(somewhere),
                weight_diag: None,
            };
            let forward = program::RecurrentForward {
                cell: cell.clone(),
                shape: shape(output),
                segment: Segment::whole(&shape(output)),
                x_gates: NOWHERE,
                weights,
                mask: None,
                zoneout: None,
                lengths: None,
                initial: None,
                last: NOWHERE,
                y: NOWHERE,
                inner,
                saved: Some(NOWHERE),
            };
            check(&context, &forward);
            let backward = program::RecurrentBackward {
                cell,
                shape: shape(output),
                segment: Segment::whole(&shape(output)),
                weights,
                mask: projected.then_some(NOWHERE),
                zoneout: None,
                saved: NOWHERE,
                d_y: NOWHERE,
                lengths: None,
                d_state: NOWHERE,
                has_d_last: false,
                wants_initial: false,
                d_gates: NOWHERE,
            };
            check(&context, &backward);
        }
    }
}
