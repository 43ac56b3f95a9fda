//! How a model is put together.

use super::last_step::LastStep;
use super::linear::LinearModule;
use super::module::Module;
use super::parameters::{ParameterSpec, Parameters};
use super::recurrent::RecurrentConfig;
use super::sequential::Sequential;
use super::softmax::Softmax;
use crate::cell::{self, Cell};
use crate::device::Device;
use crate::error::{Error, Result, check_positive};

/// Builds a [`Sequential`]. Errors wait until [`SequentialBuilder::build`].
#[derive(Debug)]
pub struct SequentialBuilder {
    pub(super) input_size: usize,
    /// Features after the layers so far.
    pub(super) features: usize,
    pub(super) modules: Result<Vec<Box<dyn Module>>>,
}

impl SequentialBuilder {
    fn push(mut self, features: usize, module: Result<Box<dyn Module>>) -> Self {
        self.features = features;
        self.modules = self.modules.and_then(|mut modules| {
            modules.push(module?);
            Ok(modules)
        });
        self
    }

    /// A recurrent stack of any cell. Its input size is taken from the layer before where it was left open
    /// ([`RecurrentConfig::hidden`]).
    #[must_use]
    pub fn recurrent<C: Cell>(self, mut config: RecurrentConfig<C>) -> Self {
        if config.input_size == 0 {
            config.input_size = self.features;
        }
        let features = self.features;
        let module = config.stack().and_then(|stack| {
            if stack.batch_first {
                let expected = "false in a Sequential, which is time-major; `permuted_axes` of an array costs nothing";
                return Err(Error::argument("batch_first", true, expected));
            }
            if stack.input_size == features {
                return Ok((
                    stack.directions * stack.output_size(),
                    Box::new(stack) as Box<dyn Module>,
                ));
            }
            let expected = format!("{features}, the features of the layer before");
            Err(Error::argument("input_size", stack.input_size, expected))
        });
        match module {
            Ok((features, module)) => self.push(features, Ok(module)),
            Err(error) => self.push(features, Err(error)),
        }
    }

    /// An LSTM.
    #[must_use]
    pub fn lstm(self, config: RecurrentConfig<cell::LstmUnit>) -> Self {
        self.recurrent(config)
    }

    /// A GRU.
    #[must_use]
    pub fn gru(self, config: RecurrentConfig<cell::GruUnit>) -> Self {
        self.recurrent(config)
    }

    /// A vanilla RNN.
    #[must_use]
    pub fn rnn(self, config: RecurrentConfig<cell::RnnUnit>) -> Self {
        self.recurrent(config)
    }

    /// From `[T, B, F]` to the last step, `[B, F]`: many-to-one. With lengths, that is each row's own last step (zeros for a length
    /// of 0). Without this layer those after work on every step: many-to-many. After a
    /// bidirectional layer the reverse direction's part is what it has seen of the last step only, as in PyTorch's `y[-1]`.
    #[must_use]
    pub fn last_step(self) -> Self {
        let features = self.features;
        self.push(features, Ok(Box::new(LastStep)))
    }

    /// y = x Wᵀ + b to `output_size` features (PyTorch's `nn.Linear`), first drawn from U(±1/√in).
    #[must_use]
    pub fn linear(self, output_size: usize) -> Self {
        let module = check_positive("output_size", output_size).map(|()| {
            Box::new(LinearModule {
                input_size: self.features,
                output_size,
            }) as Box<dyn Module>
        });
        self.push(output_size, module)
    }

    /// Softmax over the features. A model trained with [`SoftmaxCrossEntropy`](crate::train::SoftmaxCrossEntropy) must not end in
    /// it: that loss takes logits.
    #[must_use]
    pub fn softmax(self) -> Self {
        let features = self.features;
        self.push(features, Ok(Box::new(Softmax)))
    }

    /// Draws the weights, ChaCha8 from `seed`: the same on every device.
    ///
    /// # Errors
    /// [`Error::Argument`] for the first layer that does not fit; [`Error::Limit`] and [`Error::OutOfMemory`].
    pub fn build(self, device: &Device, seed: u64) -> Result<Sequential> {
        check_positive("features", self.input_size)?;
        let modules = self.modules?;
        // The sizes do not matter: it is the number of dimensions that may not fit.
        modules
            .iter()
            .try_fold(vec![1, 1, self.input_size], |shape, module| {
                module.output_shape(&shape)
            })?;
        let specs = modules.iter().enumerate().flat_map(|(index, module)| {
            let named = move |spec: ParameterSpec| ParameterSpec {
                name: format!("{index}.{}", spec.name),
                ..spec
            };
            module.parameters().into_iter().map(named)
        });
        let parameters = Parameters::new(device, specs.collect(), seed)?;
        Ok(Sequential::from_parts(self.input_size, modules, parameters))
    }
}
