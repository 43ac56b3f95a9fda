//! Cross-entropy of two classes.

use super::Loss;
use crate::error::Result;
use crate::expr::Lanes;
use crate::graph::Var;
use crate::nn::Scope;

/// The mean of −t·ln σ(x) − (1 − t)·ln(1 − σ(x)), of outputs x before the sigmoid (PyTorch's `nn.BCEWithLogitsLoss`). Targets t are like the model's
/// output, from 0 to 1: whether each of some things is so.
///
/// The form ln(1 + eˣ) − t·x is what is computed: it loses nothing for large x.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BinaryCrossEntropy;

impl Loss for BinaryCrossEntropy {
    fn elements(&self, s: &mut Scope<'_>, output: Var, target: Var) -> Result<Var> {
        let name = "binary_cross_entropy";
        s.map(name, [output, target], |[x, t]| x.softplus() - t * x)
    }
}
