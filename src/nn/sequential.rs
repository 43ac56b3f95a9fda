//! Layers one after another.

use super::builder::SequentialBuilder;
use super::cache::ShapeCache;
use super::module::{Backward, Mode, Module, Value};
use super::parameters::{Parameter, Parameters};
use super::recurrent::{Input, check_lengths};
use crate::data::Values;
use crate::device::Device;
use crate::error::{Error, Result, check_positive};
use crate::executable::{Copy, Executable};
use crate::profile::ExecutionPlan;
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::Profile;
use crate::program::{Program, Slice, TensorId};
use crate::tensor::Tensor;

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
