//! Plans of trials.

use super::recurrent::LowersRecurrence;
use crate::error::Result;
use crate::gpu::plan::{Plan, PlanBuilder};
use crate::gpu::recurrent_choice::RecurrentChoice;
use crate::gpu::{Buffer, Context};
use crate::program::{RecurrentOp, RecurrentShape, TrialProgram};

/// Steps and elements of `[T, B, D, G·H]` of a trial, at most, but two steps.
const STEPS: usize = 32;
const ELEMENTS: usize = 1 << 22;

/// The steps of a trial.
fn steps(op: &impl RecurrentOp) -> usize {
    let of = op.operands();
    let RecurrentShape {
        batch,
        hidden,
        directions,
        ..
    } = of.shape;
    let of_step = batch * directions * of.cell.gates() * hidden;
    STEPS.min((ELEMENTS / of_step.max(1)).max(2))
}

/// A plan that runs a trial of an operation so many times.
pub(super) fn trial_plan<T: LowersRecurrence>(
    context: &Context,
    op: &T,
    choice: RecurrentChoice,
    repeats: usize,
) -> Result<Plan> {
    let mut trial = TrialProgram::new(op, steps(op));
    let op = op.in_trial(&mut trial);
    let buffers = (trial.program.tensors().iter())
        .map(|spec| Ok(Buffer::new(context.storage(&spec.name, spec.len())?)))
        .collect::<Result<Vec<_>>>()?;
    let mut plan = PlanBuilder::new(context, &buffers)?;
    for _ in 0..repeats {
        op.lower_as(op.effective(choice), &mut plan)?;
    }
    plan.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CellRef;
    use crate::cell::{GruUnit, LstmUnit, Reset};
    use crate::device::Precision;
    use crate::gpu::RecurrentWalk::{Device, Invocation, Workgroup};
    use crate::gpu::adapter::Wish;
    use crate::program::Op;
    use crate::program::samples::{backward, forward};

    fn check<T: LowersRecurrence + Into<Op>>(context: &Context, op: &T) {
        let mut short = TrialProgram::new(op, steps(op));
        let own = op.in_trial(&mut short);
        short.program.push(own);
        short.program.check().unwrap();
        for (walk, rows) in [(Device, 2), (Workgroup, 1), (Invocation, 1)] {
            let choice = RecurrentChoice::new(walk, rows, 1, false).unwrap();
            let plan = trial_plan(context, op, choice, 2).unwrap();
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
        let late = GruUnit {
            reset: Reset::Before,
            ..GruUnit::default()
        };
        for (cell, output) in [
            (CellRef::new(LstmUnit::default()), 5),
            (CellRef::new(LstmUnit::default()), 2),
            (CellRef::new(late), 5),
        ] {
            let forward = forward(&cell, shape(output));
            check(&context, &forward);
            check(&context, &backward(&forward, output != 5));
        }
    }
}
