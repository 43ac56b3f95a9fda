//! The elements of losses and metrics added up, without those past a sequence's end.

use super::loss::Reduction;
use crate::expr::{Expr, Fold, Lanes, Tape};
use crate::graph::Var;
use crate::nn::{Scope, Space};
use crate::program::product;

#[cfg(test)]
mod tests;

/// Numbers in which a device keeps a sum over steps: the sum, and what rounding took from it so far.
pub(super) const SUM_LEN: usize = 2;

/// How many elements a batch has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    /// So many.
    All(usize),
    /// So many at each step within the sequences' lengths.
    OfStep(usize),
}

/// What each element is worth: whether it is within its sequence, and by what the sum is multiplied.
pub(super) struct Elements {
    values: Var,
    lengths: Option<Var>,
    /// How many steps are valid, `[1]`.
    valid: Option<Var>,
    /// By what the sum is multiplied, besides one over the valid steps.
    scale: f64,
    count: Count,
}

impl Elements {
    /// The elements of a loss of an output.
    pub(super) fn new(s: &mut Scope<'_>, values: Var, output: Var, reduction: Reduction) -> Self {
        let shape = s.shape(values).to_vec();
        // Ragged where the output is a sequence that is.
        let lengths = s.ty(output).lengths.filter(|_| shape.len() >= 2);
        let count = match lengths {
            None => Count::All(product(&shape)),
            Some(_) => Count::OfStep(product(&shape[2..])),
        };
        let mean = reduction == Reduction::Mean;
        let valid = lengths.filter(|_| mean).map(|own| s.valid_steps(own));
        let (Count::All(divisor) | Count::OfStep(divisor)) = count;
        let scale = if mean { 1.0 / divisor as f64 } else { 1.0 };
        Self {
            values,
            lengths,
            valid,
            scale,
            count,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> Count {
        self.count
    }

    /// The reduced loss, `[]`.
    pub(super) fn reduced(&self, s: &mut Scope<'_>) -> Var {
        self.fold(s, |_, loss| vec![loss])[0]
    }

    /// The reduced loss added `weight` times to a sum over steps of [`SUM_LEN`] numbers, `[1]` each, and behind them, where it is
    /// there, a count: see [`counted`]. Gives all of them anew.
    pub(super) fn added(&self, s: &mut Scope<'_>, to: &[Var], weight: f64) -> Vec<Var> {
        self.fold(s, |space, loss| {
            let sum = [to[0], to[1]].map(|var| space.scalar(var));
            let sum = with_rest(sum, loss * weight);
            let count = to.get(SUM_LEN).map(|count| space.scalar(*count));
            let count = count.map(|count| counted(count, sum[0].finite()));
            sum.into_iter().chain(count).collect()
        })
    }

    /// Expressions of the reduced loss.
    fn fold(
        &self,
        s: &mut Scope<'_>,
        of: impl for<'t> FnOnce(&mut Space<'t>, Expr<'t>) -> Vec<Expr<'t>>,
    ) -> Vec<Var> {
        let shape = s.shape(self.values).to_vec();
        let tape = Tape::new();
        let mut space = Space::new(&tape, &shape);
        let value = space.element(self.values);
        let value = space.steps(self.lengths, 0, 1).valid(value, 0.0);
        let mut loss = tape.statistic(Fold::Sum, value) * self.scale;
        if let Some(valid) = self.valid {
            loss = loss / space.scalar(valid);
        }
        let results = of(&mut space, loss);
        space.folds(s, "loss", shape.len(), &results)
    }
}

/// A sum and what rounding took from it, with another number (Kahan, 1965).
fn with_rest<'t>([sum, rest]: [Expr<'t>; 2], number: Expr<'t>) -> [Expr<'t>; 2] {
    // A compiler that computes with real numbers would find that nothing is left.
    let more = (number + rest).stored();
    let new = (sum + more).stored();
    let left = more - (new - sum).stored();
    // An infinite sum leaves no remainder.
    [new, (new.finite() - 0.5).where_positive(left, sum.zero())]
}

/// The number of steps before the first that was not finite: it goes on as long as all are (`finite` is 1), and is −1 − itself from the first
/// on that is not (0).
pub(super) fn counted<'t>(count: Expr<'t>, finite: Expr<'t>) -> Expr<'t> {
    (-count).where_positive(count, (finite * 2.0 - 1.0) * (count + 1.0))
}

/// The steps before the first that was not finite, of what [`counted`] gave last; none where all were.
pub(super) fn steps_before(count: f64) -> Option<u64> {
    (count < 0.0).then(|| (-count - 1.0) as u64)
}
