//! A layer beside its input.

use crate::error::Result;
use crate::graph::Var;
use crate::nn::{Layer, Scope};

/// y = x + f(x), f being any layer that keeps the shape (He et al., 2016). Its weights are named `inner.…`.
#[derive(Clone, Copy, Debug)]
pub struct Residual<L>(pub L);

impl<L: Layer<Input = Var, Output = Var>> Layer for Residual<L> {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        let y = s.layer("inner", &self.0, x)?;
        crate::error::check_shape("what a residual's layer gives", s.shape(y), s.shape(x))?;
        s.add(x, y)
    }
}
