//! What layers are.

use super::scope::Scope;
use crate::error::Result;
use crate::graph::Var;
use std::fmt::Debug;

/// A part of a model: what it computes of its input, written with a [`Scope`]'s operations. Its weights are those it asks the scope for.
///
/// A residual LSTM with a layer norm, as a layer of one's own:
///
/// ```
/// use bptt::{Device, graph::Var, nn::{Layer, LayerNorm, Lstm, Scope, Sequential}};
///
/// #[derive(Debug)]
/// struct ResidualLstm { lstm: Lstm, norm: LayerNorm }
///
/// impl Layer for ResidualLstm {
///     type Input = Var; // [T, B, F]
///     type Output = Var; // [T, B, F]
///     fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
///         let normed = s.layer("norm", &self.norm, x)?;
///         let (y, _last) = s.layer("lstm", &self.lstm, (normed, None))?;
///         s.add(x, y)
///     }
/// }
///
/// # fn main() -> bptt::Result<()> {
/// let layer = ResidualLstm { lstm: Lstm::hidden(8), norm: LayerNorm::new() };
/// let model = Sequential::new(8).add(layer).last_step().linear(1).build(&Device::cpu(), 42)?;
/// assert!(model.parameters().names().any(|name| name == "0.lstm.weight_ih_l0"));
/// # Ok(())
/// # }
/// ```
pub trait Layer: Debug + Send + Sync {
    /// What it takes: a value, or several.
    type Input;
    /// What it gives.
    type Output;
    /// Writes what it computes.
    ///
    /// # Errors
    /// Where the input does not fit, naming it.
    fn forward(&self, s: &mut Scope<'_>, input: Self::Input) -> Result<Self::Output>;
}

/// What a model's layer takes of the model's inputs: a value, or as many as there are.
pub trait Inputs: Sized {
    /// How many.
    const COUNT: usize;
    /// From the inputs in order, of which there are as many.
    fn from_vars(vars: &[Var]) -> Self;
}

impl Inputs for Var {
    const COUNT: usize = 1;
    fn from_vars(vars: &[Var]) -> Self {
        vars[0]
    }
}

impl<const N: usize> Inputs for [Var; N] {
    const COUNT: usize = N;
    fn from_vars(vars: &[Var]) -> Self {
        std::array::from_fn(|index| vars[index])
    }
}

impl Inputs for (Var, Var) {
    const COUNT: usize = 2;
    fn from_vars(vars: &[Var]) -> Self {
        (vars[0], vars[1])
    }
}

impl Inputs for (Var, Var, Var) {
    const COUNT: usize = 3;
    fn from_vars(vars: &[Var]) -> Self {
        (vars[0], vars[1], vars[2])
    }
}

/// A layer from a model's inputs to its output, whatever its types are.
pub(crate) trait Network: Debug + Send + Sync {
    fn forward(&self, s: &mut Scope<'_>, inputs: &[Var]) -> Result<Var>;
}

impl<L: Layer<Output = Var, Input: Inputs>> Network for L {
    fn forward(&self, s: &mut Scope<'_>, inputs: &[Var]) -> Result<Var> {
        Layer::forward(self, s, Inputs::from_vars(inputs))
    }
}
