//! Vectors of whole numbers.

use crate::error::{Result, check_positive};
use crate::graph::Var;
use crate::nn::{Init, Layer, Scope};

/// Row x of a table for every whole number x (PyTorch's `nn.Embedding`): `weight [V, E]`, first drawn from N(0, 1). x: `[T, B]`, below V;
/// y: `[T, B, E]`. A number of V or more gives zeros, and no gradient.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    num_embeddings: usize,
    embedding_dim: usize,
}

impl Embedding {
    /// V vectors of E numbers.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        Self {
            num_embeddings,
            embedding_dim,
        }
    }
}

impl Layer for Embedding {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        check_positive("num_embeddings", self.num_embeddings)?;
        check_positive("embedding_dim", self.embedding_dim)?;
        let shape = [self.num_embeddings, self.embedding_dim];
        let table = s.parameter("weight", &shape, Init::Normal(1.0))?;
        s.gather(table, x)
    }
}
