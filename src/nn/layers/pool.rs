//! From a sequence to one row.

use crate::error::{Error, Result};
use crate::expr::{Expr, Fold, Lanes, Tape};
use crate::graph::Var;
use crate::nn::space::Steps;
use crate::nn::{Layer, Scope, Space};

/// `[T, B, F]` to `[B, F]`: the last step only (many-to-one), of each row's own length where there are lengths (0 for a length of 0).
///
/// Without this or another pooling the layers behind work on every step: many-to-many. After a bidirectional layer the reverse direction's
/// part is what it has seen of the last step only, as in PyTorch's `y[-1]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastStep;

/// `[T, B, F]` to `[B, F]`: the mean over each row's own steps (0 for a length of 0).
#[derive(Clone, Copy, Debug, Default)]
pub struct MeanOverTime;

/// `[T, B, F]` to `[B, F]`: the largest of each row's own steps (0 for a length of 0). Where several are, they share the gradient. Infinite
/// numbers are for the CPU: a GPU's compiler may take it that there are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxOverTime;

fn sequence(s: &Scope<'_>, layer: &str, x: Var) -> Result<[usize; 3]> {
    match *s.shape(x) {
        [steps, batch, features] if steps > 0 => Ok([steps, batch, features]),
        [0, ..] => Err(Error::shape(
            layer,
            s.shape(x),
            "[T, B, F] of at least one step",
        )),
        _ => Err(Error::argument(
            layer,
            format!("on a value of shape {:?}", s.shape(x)),
            "on a sequence [T, B, F], so one such layer, after the recurrent ones",
        )),
    }
}

impl Layer for LastStep {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        let [steps, batch, features] = sequence(s, "last_step", x)?;
        let Some(lengths) = s.ty(x).lengths else {
            let last = s.slice(x, 0, steps - 1, 1)?;
            return s.reshape(last, &[batch, features]);
        };
        let tape = Tape::new();
        let mut space = Space::new(&tape, &[batch, features]);
        let of_batch = (batch > 1).then_some(0);
        let axes = vec![of_batch.map(|_| 1), (features > 1).then_some(2)];
        let last = space.gather((x, axes), (lengths, vec![of_batch, None]), 1);
        Ok(space.map(s, "last_step", last))
    }
}

/// x at the steps of a row, and folds over those that the row has.
struct Row<'t> {
    tape: &'t Tape,
    x: Expr<'t>,
    steps: Steps<'t>,
}

impl<'t> Row<'t> {
    fn sum(&self, of: Expr<'t>) -> Expr<'t> {
        self.tape.statistic(Fold::Sum, self.steps.valid(of, 0.0))
    }

    fn max(&self, of: Expr<'t>) -> Expr<'t> {
        let valid = self.steps.valid(of, f64::NEG_INFINITY);
        self.tape.statistic(Fold::Max, valid)
    }
}

/// A number of each row and feature, of folds over time.
fn over_time(
    s: &mut Scope<'_>,
    name: &'static str,
    x: Var,
    f: impl for<'t> FnOnce(Row<'t>) -> Expr<'t>,
) -> Result<Var> {
    let [steps, batch, features] = sequence(s, name, x)?;
    let follow = |size: usize, axis: usize| (size > 1).then_some(axis);
    let axes = vec![follow(batch, 1), follow(features, 2), follow(steps, 0)];
    let tape = Tape::new();
    // A row of the space is along time.
    let mut space = Space::new(&tape, &[batch, features, steps]);
    let (x, lengths) = (space.float(x, axes), s.ty(x).lengths);
    let steps = space.steps(lengths, 2, 0);
    let tape = &tape;
    let result = f(Row { tape, x, steps });
    Ok(space.fold(s, name, 1, result))
}

impl Layer for MeanOverTime {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        over_time(s, "mean_over_time", x, |row| {
            row.sum(row.x) / row.steps.count().max(row.x.constant(1.0))
        })
    }
}

impl Layer for MaxOverTime {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        over_time(s, "max_over_time", x, |row| {
            // The mean of those that reach the maximum, which has their gradient.
            let (zero, one) = (row.x.zero(), row.x.constant(1.0));
            let below = row.max(row.x) - row.x;
            // ∞ − ∞ is no number: an infinite number that reaches the maximum gives one here.
            let reaches = (-below).where_positive(one, below.where_positive(zero, one));
            let reached = reaches.where_positive(row.x, zero);
            let mean = row.sum(reached) / row.sum(reaches).max(one);
            row.steps.count().where_positive(mean, zero)
        })
    }
}
