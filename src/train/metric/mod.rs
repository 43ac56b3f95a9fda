//! What is measured beside the loss.

use crate::error::Result;
use crate::expr::Lanes;
use crate::graph::{Type, Var};
use crate::nn::Scope;
use std::fmt::Debug;

/// A number that says how good a model is: the mean of something over all elements, or a function of that.
///
/// The mean absolute error, as a metric of one's own:
///
/// ```
/// use bptt::{expr::Lanes, graph::Var, nn::Scope, train::Metric};
///
/// #[derive(Debug)]
/// struct Mae;
///
/// impl Metric for Mae {
///     fn name(&self) -> &str {
///         "mae"
///     }
///     fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> bptt::Result<Var> {
///         s.map("mae", [output, target], |[output, target]| (output - target).abs())
///     }
/// }
/// ```
///
/// What `Debug` says of two metrics tells them apart, so it has all their numbers, as a derived one does.
pub trait Metric: Debug + Send + Sync {
    /// The metric's name in reports.
    fn name(&self) -> &str;

    /// What every element, or every row, counts: of the output's shape, or without its last axes.
    ///
    /// # Errors
    /// Where the output does not fit, naming it.
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var>;

    /// The metric from the mean over all elements within their sequences' lengths. Default: that.
    fn value(&self, mean: f64) -> f64 {
        mean
    }

    /// What targets must be like. Default: the output.
    fn target(&self, output: &Type) -> Type {
        Type::float(output.shape.clone())
    }
}

/// The share of rows whose largest output is that of their class. Targets are class numbers; no output is that of a class past the
/// last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accuracy;

impl Metric for Accuracy {
    fn name(&self) -> &str {
        "accuracy"
    }

    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        let columns = s.ty(output).features() as u32;
        s.fold_rows_of_class("accuracy", output, target, |row, x, class| {
            let (zero, one) = (x.zero(), x.constant(1.0));
            let picked = row.sum(row.is(class, x, zero));
            let is_largest = (row.max(x) - picked).where_positive(zero, one);
            class.less(class.constant(columns), is_largest, zero)
        })
    }

    fn target(&self, output: &Type) -> Type {
        Type::index(&output.shape[..output.shape.len().saturating_sub(1)])
    }
}

/// The root of the mean squared error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rmse;

impl Metric for Rmse {
    fn name(&self) -> &str {
        "rmse"
    }

    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        s.map("rmse", [output, target], |[output, target]| {
            (output - target) * (output - target)
        })
    }

    fn value(&self, mean: f64) -> f64 {
        mean.sqrt()
    }
}
