//! Layers one after another.

use super::cache::ShapeCache;
use super::last_step::LastStep;
use super::linear::LinearModule;
use super::module::{Backward, Mode, Module, Value};
use super::parameters::{Parameter, ParameterSpec, Parameters};
use super::recurrent::{Input, RecurrentConfig, check_lengths};
use super::softmax::Softmax;
use crate::cell::{self, Cell};
use crate::data::Values;
use crate::device::Device;
use crate::error::{Error, Result, check_positive};
use crate::executable::{Copy, Executable};
use crate::profile::ExecutionPlan;
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::Profile;
use crate::program::{Program, Slice, TensorId};
use crate::tensor::Tensor;

/// Builds a [`Sequential`]. Errors wait until [`SequentialBuilder::build`].
#[derive(Debug)]
pub struct SequentialBuilder {
    input_size: usize,
    /// Features after the layers so far.
    features: usize,
    modules: Result<Vec<Box<dyn Module>>>,
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
    pub fn lstm(self, config: RecurrentConfig<cell::Lstm>) -> Self {
        self.recurrent(config)
    }

    /// A GRU.
    #[must_use]
    pub fn gru(self, config: RecurrentConfig<cell::Gru>) -> Self {
        self.recurrent(config)
    }

    /// A vanilla RNN.
    #[must_use]
    pub fn rnn(self, config: RecurrentConfig<cell::Rnn>) -> Self {
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

/// Layers one after another, with weights on a device.
///
/// ```
/// use bptt::{Device, nn::{LstmConfig, Sequential}};
/// # fn main() -> bptt::Result<()> {
/// let model = Sequential::new(3).lstm(LstmConfig::hidden(16)).last_step().linear(1).build(&Device::cpu(), 42)?;
/// let y = model.predict(&ndarray::Array3::<f32>::zeros((10, 4, 3)))?; // [T, B, F]
/// assert_eq!(y.shape(), [4, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sequential {
    device: Device,
    input_size: usize,
    modules: Vec<Box<dyn Module>>,
    parameters: Parameters,
    /// By T, B and whether there are lengths.
    compiled: ShapeCache<(usize, usize, bool), Compiled>,
}

#[derive(Debug)]
struct Compiled {
    executable: Executable,
    mode: Mode,
    x: TensorId,
    y: Slice,
}

impl Sequential {
    /// Starts a model that reads `features` values a step.
    #[allow(
        clippy::new_ret_no_self,
        reason = "reads as the start of the model it is"
    )]
    pub fn new(features: usize) -> SequentialBuilder {
        SequentialBuilder {
            input_size: features,
            features,
            modules: Ok(vec![]),
        }
    }

    pub(crate) fn from_parts(
        input_size: usize,
        modules: Vec<Box<dyn Module>>,
        parameters: Parameters,
    ) -> Self {
        Self {
            device: parameters.flat().device().clone(),
            input_size,
            modules,
            parameters,
            compiled: ShapeCache::default(),
        }
    }

    /// Its device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The weights, named `{layer}.{name}` like PyTorch's `nn.Sequential`: `0.weight_ih_l0`, `2.bias`, …
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The shape of its output for `[T, B, F]`: `[T, B, O]` or, past `last_step`, `[B, O]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where x does not fit.
    pub fn output_shape(&self, x: &[usize]) -> Result<Vec<usize>> {
        match x {
            [steps, batch, features] if *features == self.input_size => {
                check_positive("x: T", *steps)?;
                check_positive("x: B", *batch)?;
            }
            _ => return Err(Error::shape("x", x, format!("[T, B, {}]", self.input_size))),
        }
        self.modules
            .iter()
            .try_fold(x.to_vec(), |shape, module| module.output_shape(&shape))
    }

    /// Runs the model. x: `[T, B, F]`, or an [`Input`] with lengths; nothing is dropped at random. On a GPU it does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] where x or the lengths do not fit; the GPU's errors.
    pub fn forward<'a>(&self, x: impl Into<Input<'a>>) -> Result<Tensor> {
        let input = x.into();
        input.x.check_device("x", &self.device)?;
        self.run(&Values::from(input.x.clone()), input.lengths)
    }

    /// What a forward pass over x of this shape, `[T, B, F]`, does, and the memory it takes; nothing runs.
    ///
    /// # Errors
    /// [`Error::Shape`] where x does not fit; the GPU's errors.
    pub fn plan(&self, x: &[usize]) -> Result<ExecutionPlan> {
        self.output_shape(x)?;
        let compile = || self.compile(x, false);
        self.compiled
            .with(&self.device, (x[0], x[1], false), compile, |compiled| {
                Ok(compiled.executable.plan())
            })
    }

    /// A forward pass, as [`Sequential::forward`], each part of it timed. Waits until it is done.
    ///
    /// # Errors
    /// As [`Sequential::forward`] and [`Executable::profile`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile<'a>(&self, x: impl Into<Input<'a>>) -> Result<Profile> {
        let input = x.into();
        input.x.check_device("x", &self.device)?;
        let x = Values::from(input.x.clone());
        Ok(self.run_by(&x, input.lengths, Executable::profile_with)?.1)
    }

    /// Runs the model on an array and reads the result.
    ///
    /// # Errors
    /// As [`Sequential::forward`].
    pub async fn predict_async<F: crate::Real>(
        &self,
        x: &ndarray::ArrayRef<F, ndarray::Ix3>,
    ) -> Result<ndarray::ArrayD<F>>
    where
        Values: for<'a> From<&'a ndarray::ArrayRef<F, ndarray::Ix3>>,
    {
        self.run(&Values::from(x), None)?.to_array_async().await
    }

    /// Blocking [`Sequential::predict_async`].
    ///
    /// # Errors
    /// As [`Sequential::forward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predict<F: crate::Real>(
        &self,
        x: &ndarray::ArrayRef<F, ndarray::Ix3>,
    ) -> Result<ndarray::ArrayD<F>>
    where
        Values: for<'a> From<&'a ndarray::ArrayRef<F, ndarray::Ix3>>,
    {
        pollster::block_on(self.predict_async(x))
    }

    /// Runs the model on sequences of different lengths and reads the result. x: `[T, B, F]`; lengths: `[B]`, as
    /// [`Input::with_lengths`] takes them.
    ///
    /// # Errors
    /// As [`Sequential::forward`].
    pub async fn predict_ragged_async<F: crate::Real>(
        &self,
        x: &ndarray::ArrayRef<F, ndarray::Ix3>,
        lengths: &[usize],
    ) -> Result<ndarray::ArrayD<F>>
    where
        Values: for<'a> From<&'a ndarray::ArrayRef<F, ndarray::Ix3>>,
    {
        let y = self.run(&Values::from(x), Some(lengths))?;
        y.to_array_async().await
    }

    /// Blocking [`Sequential::predict_ragged_async`].
    ///
    /// # Errors
    /// As [`Sequential::forward`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn predict_ragged<F: crate::Real>(
        &self,
        x: &ndarray::ArrayRef<F, ndarray::Ix3>,
        lengths: &[usize],
    ) -> Result<ndarray::ArrayD<F>>
    where
        Values: for<'a> From<&'a ndarray::ArrayRef<F, ndarray::Ix3>>,
    {
        pollster::block_on(self.predict_ragged_async(x, lengths))
    }

    fn run(&self, x: &Values, lengths: Option<&[usize]>) -> Result<Tensor> {
        Ok(self.run_by(x, lengths, Executable::run_with)?.0)
    }

    /// Runs the model, its program run by `execute`, which is given the copies before and after it.
    fn run_by<R>(
        &self,
        x: &Values,
        lengths: Option<&[usize]>,
        execute: impl FnOnce(&Executable, &[Copy<'_>], &[Copy<'_>]) -> Result<R>,
    ) -> Result<(Tensor, R)> {
        let y = Tensor::zeros(&self.device, &self.output_shape(x.shape())?)?;
        let (steps, batch) = (x.shape()[0], x.shape()[1]);
        if let Some(lengths) = lengths {
            check_lengths(lengths, steps, batch)?;
        }
        let key = (steps, batch, lengths.is_some());
        let compile = || self.compile(x.shape(), lengths.is_some());
        let result = self.compiled.with(&self.device, key, compile, |compiled| {
            compiled.mode.write(&compiled.executable, lengths, None)?;
            let before = x.load(compiled.executable.tensor(compiled.x))?;
            let from = compiled.executable.tensor(compiled.y.tensor);
            let output = Copy {
                from: (from, compiled.y.offset),
                to: (&y, 0),
                len: y.len(),
            };
            execute(&compiled.executable, before.as_slice(), &[output])
        })?;
        Ok((y, result))
    }

    fn compile(&self, x: &[usize], lengths: bool) -> Result<Compiled> {
        let mut program = Program::new();
        let values = self.parameters.external(&mut program);
        let mode = Mode::new(&mut program, false, lengths.then_some(x[1]), false);
        let x = Value::new(&mut program, "x", x, false).keep(&mut program);
        let id = x.slice.tensor;
        let weights = self.parameters.slices(values, None);
        let (y, _) = self.emit(&mut program, &weights, x, mode);
        let y = y.keep(&mut program);
        let executable = Executable::new(&self.device, program, &[self.parameters.flat().clone()])?;
        Ok(Compiled {
            executable,
            mode,
            x: id,
            y: y.slice,
        })
    }

    /// Writes the forward pass. Returns the output and the backward pass.
    pub(crate) fn emit(
        &self,
        program: &mut Program,
        weights: &[Parameter],
        x: Value,
        mode: Mode,
    ) -> (Value, Backward) {
        let mut rest = weights;
        let mut value = x;
        let mut passes = vec![];
        for (index, module) in self.modules.iter().enumerate() {
            let (own, others) = rest.split_at(module.parameters().len());
            rest = others;
            let site = index as u32 * Mode::SITES;
            let (y, backward) = module.forward(program, own, value, Mode { site, ..mode });
            value = y;
            passes.push(backward);
        }
        let backward =
            move |program: &mut Program| passes.into_iter().rev().for_each(|pass| pass(program));
        (value, Box::new(backward))
    }

    /// Whether anything is drawn at random in training.
    pub(crate) fn is_random(&self) -> bool {
        self.modules.iter().any(|module| module.is_random())
    }

    /// Whether the model ends in softmax.
    pub(crate) fn ends_in_softmax(&self) -> bool {
        self.modules
            .last()
            .is_some_and(|module| module.is_softmax())
    }
}
