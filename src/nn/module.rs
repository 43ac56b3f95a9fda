//! What a layer is to a program.

use super::parameters::{Parameter, ParameterSpec};
use crate::error::Result;
use crate::program::{Matrix, Program, Slice};

/// An activation `[T, B, F]`, or `[B, F]` past the last-step layer, with its gradient where that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) shape: Vec<usize>,
    pub(crate) slice: Slice,
    pub(crate) gradient: Option<Slice>,
}

impl Value {
    /// A new tensor, and one for its gradient in a training program.
    pub(crate) fn new(program: &mut Program, name: &str, shape: &[usize], train: bool) -> Self {
        let slice = program.tensor(name, shape);
        let gradient = train.then(|| program.tensor(format!("d.{name}"), shape));
        Self {
            shape: shape.to_vec(),
            slice,
            gradient,
        }
    }

    /// F, the last dimension.
    pub(crate) fn features(&self) -> usize {
        *self.shape.last().expect("activations have features")
    }

    /// `[T·B, F]`
    pub(crate) fn matrix(&self) -> Matrix {
        self.as_matrix(self.slice)
    }

    /// The gradient `[T·B, F]`, where it is wanted.
    pub(crate) fn gradient_matrix(&self) -> Option<Matrix> {
        self.gradient.map(|gradient| self.as_matrix(gradient))
    }

    /// The gradient of a value that the backward pass reads: there is one in every training program.
    pub(crate) fn known_gradient(&self) -> Slice {
        self.gradient
            .expect("a training program has the gradients of its activations")
    }

    fn as_matrix(&self, slice: Slice) -> Matrix {
        slice.matrix(slice.len / self.features(), self.features())
    }
}

/// Writes a layer's backward pass: reads the gradient of its output; writes that of its input, where that is wanted, and those
/// of its weights, where those are.
pub(crate) type Backward = Box<dyn FnOnce(&mut Program)>;

/// A layer of a model.
pub(crate) trait Module: std::fmt::Debug + Send + Sync {
    /// The weights it has, in PyTorch's order.
    fn parameters(&self) -> Vec<ParameterSpec> {
        vec![]
    }
    /// The shape of its output `[T, B, F]` or `[B, F]`, given that of its input.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>>;
    /// Writes its forward pass. With `train` it keeps what the backward pass needs. Returns its output and that pass.
    fn forward(
        &self,
        program: &mut Program,
        weights: &[Parameter],
        x: Value,
        train: bool,
    ) -> (Value, Backward);
    /// Whether its output is a distribution already, so that a loss must not apply softmax again.
    fn is_softmax(&self) -> bool {
        false
    }
}
