//! Layers one after another.

use super::input_spec::InputSpec;
use super::layer::Layer;
use super::layers::{Activation, Dropout, Embedding, LastStep, LayerNorm, Linear, Softmax};
use super::model::Model;
use super::recurrent::{OnlyOutput, Recurrent};
use super::scope::Scope;
use crate::cell::{Cell, GruUnit, LstmUnit, RnnUnit};
use crate::device::Device;
use crate::error::Result;
use crate::graph::Var;

/// Layers one after another. Their weights are named by their place: `0.weight_ih_l0`, `2.bias`, as in PyTorch's `nn.Sequential`.
///
/// ```
/// use bptt::{Device, nn::{Lstm, Sequential}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).lstm(Lstm::hidden(16)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let y = model.predict(&ndarray::Array3::<f32>::zeros((10, 4, 3)))?; // [T, B, F]
/// assert_eq!(y.shape(), [4, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Sequential {
    input: InputSpec,
    layers: Vec<Box<dyn Layer<Input = Var, Output = Var>>>,
}

impl Sequential {
    /// Starts a model that reads sequences of `features` values a step, `[T, B, F]`.
    pub fn new(features: usize) -> Self {
        Self::of(InputSpec::sequence("x", features))
    }

    /// Starts a model that reads sequences of whole numbers, `[T, B]`: its first layer is an [`Embedding`].
    pub fn tokens() -> Self {
        Self::of(InputSpec::tokens("x"))
    }

    /// Starts a model of an input.
    pub fn of(input: InputSpec) -> Self {
        Self {
            input,
            layers: vec![],
        }
    }

    /// Any layer.
    #[allow(
        clippy::should_implement_trait,
        reason = "it adds a layer, as Keras' `add`"
    )]
    pub fn add(mut self, layer: impl Layer<Input = Var, Output = Var> + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// A recurrent stack of any cell, of which every step's output goes on.
    pub fn recurrent<C: Cell>(self, stack: Recurrent<C>) -> Self {
        self.add(OnlyOutput(stack))
    }

    /// An LSTM.
    pub fn lstm(self, stack: Recurrent<LstmUnit>) -> Self {
        self.recurrent(stack)
    }

    /// A GRU.
    pub fn gru(self, stack: Recurrent<GruUnit>) -> Self {
        self.recurrent(stack)
    }

    /// A vanilla RNN.
    pub fn rnn(self, stack: Recurrent<RnnUnit>) -> Self {
        self.recurrent(stack)
    }

    /// From `[T, B, F]` to the last step: see [`LastStep`].
    pub fn last_step(self) -> Self {
        self.add(LastStep)
    }

    /// y = x Wᵀ + b to `out_features` features: see [`Linear`].
    pub fn linear(self, out_features: usize) -> Self {
        self.add(Linear::new(out_features))
    }

    /// An activation of every element.
    pub fn activation(self, activation: Activation) -> Self {
        self.add(activation)
    }

    /// Dropout of every element: see [`Dropout`].
    pub fn dropout(self, rate: f64) -> Self {
        self.add(Dropout::new(rate))
    }

    /// Vectors of whole numbers: see [`Embedding`].
    pub fn embedding(self, num_embeddings: usize, embedding_dim: usize) -> Self {
        self.add(Embedding::new(num_embeddings, embedding_dim))
    }

    /// A layer norm: see [`LayerNorm`].
    pub fn layer_norm(self) -> Self {
        self.add(LayerNorm::new())
    }

    /// Softmax over the features. [`CrossEntropy`](crate::train::CrossEntropy) takes logits as well as what softmax gives.
    pub fn softmax(self) -> Self {
        self.add(Softmax)
    }

    /// Draws the weights, ChaCha8 from `seed`: the same on every device.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for the first layer that does not fit; [`Error::Limit`](crate::Error::Limit) and
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn build(self, device: &Device, seed: u64) -> Result<Model> {
        let input = self.input.clone();
        Model::new(device, self, &[input], seed)
    }
}

impl Layer for Sequential {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> Result<Var> {
        let mut layers = self.layers.iter().enumerate();
        layers.try_fold(x, |x, (index, layer)| {
            s.layer(&index.to_string(), &**layer, x)
        })
    }
}
