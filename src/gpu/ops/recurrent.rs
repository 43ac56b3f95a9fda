//! Recurrences lowered the way that is the fastest on the adapter.

use super::recurrent_trial::trial_plan;
use crate::error::Result;
use crate::gpu::plan::PlanBuilder;
use crate::gpu::recurrent_choice::RecurrentChoice;
use crate::program::{RecurrentOp, RecurrentOperands};

/// An operation that a [`RecurrentChoice`] says how to run.
pub(super) trait LowersRecurrence: RecurrentOp {
    /// Appends the dispatches of an effective choice.
    fn lower_as(&self, choice: RecurrentChoice, plan: &mut PlanBuilder<'_>) -> Result<()>;

    /// What a choice comes down to for this operation.
    fn effective(&self, choice: RecurrentChoice) -> RecurrentChoice {
        // Masked, each gate has inputs, or backwards sums, of its own in registers.
        let masked = self.operands().mask.is_some();
        RecurrentChoice {
            rows: choice.rows.min(if masked { 2 } else { usize::MAX }),
            outputs: if masked || !Self::BACKWARD {
                1
            } else {
                choice.outputs
            },
            ..choice
        }
    }
}

/// Appends an operation's dispatches the way that was forced, or else is the fastest.
pub(super) fn lower<T: LowersRecurrence>(op: &T, plan: &mut PlanBuilder<'_>) -> Result<()> {
    let context = plan.context();
    let choice = match context.tuner.forced::<RecurrentChoice>() {
        Some(choice) => choice,
        None => {
            let RecurrentOperands { cell, shape, .. } = op.operands();
            let mut candidates = vec![];
            for choice in context.recurrent_choices(&shape, cell.gates()) {
                let choice = op.effective(choice);
                if !candidates.contains(&choice) {
                    candidates.push(choice);
                }
            }
            let trial = |_, choice, repeats| trial_plan(context, op, choice, repeats);
            context.choose(&class(op, plan.half), &candidates, trial)?
        }
    };
    op.lower_as(op.effective(choice), plan)
}

/// Recurrences of one class share a choice: a cell, sizes to a factor of two, the options that
/// change the products, and the precision.
fn class<T: RecurrentOp>(op: &T, half: bool) -> String {
    let of = op.operands();
    let [batch, hidden, output] =
        [of.shape.batch, of.shape.hidden, of.shape.output].map(|size| size.max(1).ilog2());
    let (cell, gates) = (of.cell.name(), of.cell.gates());
    let name = if T::BACKWARD { "backward" } else { "forward" };
    let projected = of.weights.weight_hr.map_or("", |_| " projected");
    let masked = of.mask.map_or("", |_| " masked");
    let half = if half { " half" } else { "" };
    format!(
        "{name} {cell} {gates} {batch} {hidden} {output} {}{projected}{masked}{half}",
        of.shape.directions
    )
}
