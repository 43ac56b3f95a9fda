//! Values side by side.

use crate::error::Result;
use crate::graph::Var;
use crate::nn::{Layer, Scope};

/// The features of several values side by side: `[…, F₁]`, `[…, F₂]` … give `[…, F₁ + F₂ + …]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Concat;

impl Layer for Concat {
    type Input = Vec<Var>;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, values: Vec<Var>) -> Result<Var> {
        let rank = values.first().map_or(1, |first| s.shape(*first).len());
        s.concat(&values, rank.saturating_sub(1))
    }
}
