//! A matrix and a bias, applied to every row.

use crate::error::{Error, Result, check_positive};
use crate::graph::Var;
use crate::nn::{Init, Layer, Scope};

/// y = x Wᵀ + b (PyTorch's `nn.Linear`): `weight [out, in]`, `bias [out]`, both first drawn from U(±1/√in). x: `[…, in]`; y: `[…, out]`.
#[derive(Clone, Debug)]
#[must_use]
pub struct Linear {
    out_features: usize,
    bias: bool,
    tied: Option<String>,
}

impl Linear {
    /// To so many features, from as many as there are.
    pub fn new(out_features: usize) -> Self {
        Self {
            out_features,
            bias: true,
            tied: None,
        }
    }

    /// Whether there is a bias. Default: yes.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Uses another layer's weight, by its whole name in the model, such as `embedding.weight`. Default: its own.
    pub fn tied(mut self, weight: impl Into<String>) -> Self {
        self.tied = Some(weight.into());
        self
    }
}

impl Layer for Linear {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        check_positive("out_features", self.out_features)?;
        let features = s.ty(x).features();
        if s.shape(x).is_empty() {
            return Err(Error::shape("x of a linear layer", s.shape(x), "[…, in]"));
        }
        let init = Init::Uniform((features as f64).powf(-0.5));
        let shape = [self.out_features, features];
        let weight = match &self.tied {
            Some(name) => s.shared(name)?,
            None => s.parameter("weight", &shape, init)?,
        };
        let bias = match self.bias {
            true => Some(s.parameter("bias", &[self.out_features], init)?),
            false => None,
        };
        s.linear(x, weight, bias)
    }
}
