//! From a sequence to one row.

use crate::error::{Error, Result};
use crate::expr::{Expr, Fold, Lanes, Tape, WholeExpr};
use crate::graph::{Argument, Gather, PointwiseOp, Var, follow};
use crate::nn::{Layer, Scope};
use std::borrow::Cow;
use std::sync::Arc;

/// `[T, B, F]` to `[B, F]`: the last step only (many-to-one), of each row's own length where there are lengths (0 for a length of 0).
///
/// Without this or another pooling the layers behind work on every step: many-to-many. After a bidirectional layer the reverse direction's
/// part is what it has seen of the last step only, as in PyTorch's `y[-1]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastStep;

/// `[T, B, F]` to `[B, F]`: the mean over each row's own steps (0 for a length of 0).
#[derive(Clone, Copy, Debug, Default)]
pub struct MeanOverTime;

/// `[T, B, F]` to `[B, F]`: the largest of each row's own steps (0 for a length of 0). Where several are, they share the gradient.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxOverTime;

fn sequence(s: &Scope<'_>, layer: &str, x: Var) -> Result<[usize; 3]> {
    match *s.shape(x) {
        [steps, batch, features] => Ok([steps, batch, features]),
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
        let gather = Argument::Gather(Gather {
            input: 0,
            axes: vec![(batch > 1).then_some(1), (features > 1).then_some(2)],
            along: 0,
            index: 1,
            index_axes: vec![(batch > 1).then_some(0), None],
            shift: 1,
        });
        let inputs = vec![x, lengths];
        Ok(s.expression(
            "last_step",
            vec![batch, features],
            vec![gather],
            inputs,
            None,
            |tape| vec![tape.operand(0)],
        ))
    }
}

/// The steps of a row: x at each, and folds over those that the row has.
struct Steps<'t> {
    tape: &'t Tape,
    x: Expr<'t>,
    /// Position and length, of ragged sequences.
    place: Option<[WholeExpr<'t>; 2]>,
    /// How many steps there are.
    count: Expr<'t>,
}

impl<'t> Steps<'t> {
    fn valid(&self, yes: Expr<'t>, no: f64) -> Expr<'t> {
        match self.place {
            Some([position, length]) => position.less(length, yes, self.tape.constant(no)),
            None => yes,
        }
    }

    fn sum(&self, of: Expr<'t>) -> Expr<'t> {
        self.tape.statistic(Fold::Sum, self.valid(of, 0.0))
    }

    fn max(&self, of: Expr<'t>) -> Expr<'t> {
        let valid = self.valid(of, f64::from(f32::MIN));
        self.tape.statistic(Fold::Max, valid)
    }
}

/// A number of each row and feature, of folds over time.
fn over_time(
    s: &mut Scope<'_>,
    name: &'static str,
    x: Var,
    f: impl for<'t> FnOnce(Steps<'t>) -> Expr<'t>,
) -> Result<Var> {
    let [steps, batch, features] = sequence(s, name, x)?;
    // The space is [B, F, T]: its rows are along time.
    let followed = follow(s.shape(x), s.shape(x));
    let axes = |axes: [Option<usize>; 3]| axes.to_vec();
    let mut inputs = vec![x];
    let mut arguments = vec![Argument::Input {
        input: 0,
        axes: axes([followed[1], followed[2], followed[0]]),
    }];
    let tape = Tape::new();
    let mut place = None;
    let mut count = tape.constant(steps as f64);
    if let Some(lengths) = s.ty(x).lengths {
        inputs.push(lengths);
        arguments.push(Argument::Input {
            input: 1,
            axes: axes([(batch > 1).then_some(0), None, None]),
        });
        arguments.push(Argument::Position {
            offset: 0,
            strides: vec![0, 0, 1],
        });
        let (length, position) = (tape.whole_operand(1), tape.whole_operand(2));
        place = Some([position, length]);
        count = length.to_float();
    }
    let result = f(Steps {
        tape: &tape,
        x: tape.operand(0),
        place,
        count,
    });
    let op = PointwiseOp {
        name: Cow::Borrowed(name),
        shape: vec![batch, features, steps],
        folded: 1,
        arguments,
        body: Arc::new(tape.finish(&[], &[result])),
    };
    Ok(s.graph().pointwise(op, inputs, None)[0])
}

impl Layer for MeanOverTime {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        over_time(s, "mean_over_time", x, |steps| {
            steps.sum(steps.x) / steps.count.max(steps.count.constant(1.0))
        })
    }
}

impl Layer for MaxOverTime {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        over_time(s, "max_over_time", x, |steps| {
            // The mean of those that reach the maximum, which has their gradient.
            let (zero, one) = (steps.x.zero(), steps.x.constant(1.0));
            let reaches = (steps.max(steps.x) - steps.x).where_positive(zero, one);
            let mean = steps.sum(reaches * steps.x) / steps.sum(reaches).max(one);
            steps.count.where_positive(mean, zero)
        })
    }
}
