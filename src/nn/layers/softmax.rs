//! Softmax over the features.

use crate::error::Result;
use crate::expr::Lanes;
use crate::graph::Var;
use crate::nn::{Layer, Scope};

/// y = eˣ / Σ eˣ over the features, the largest x subtracted first. Its output is known to be a distribution.
#[derive(Clone, Copy, Debug, Default)]
pub struct Softmax;

impl Layer for Softmax {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        let y = s.rows("softmax", [x], |row, [x]| {
            let e = (x - row.max(x)).exp();
            e / row.sum(e)
        })?;
        s.graph().mark_distribution(y);
        Ok(y)
    }
}
