//! Layers with weights on a device.

use super::compiled::{Besides, Compiled, Feed, InputSlots, Signature, Written, check_count};
use super::layer::{Inputs, Layer, Network};
use super::parameters::Parameters;
use super::trace::Trace;
use super::{Input, ShapeCache, check_lengths};
use crate::Real;
use crate::data::{Sequence, Values};
use crate::device::Device;
use crate::error::{Error, Result, check_positive};
use crate::executable::{Executable, TensorCopy};
use crate::graph::{Dtype, Var};
use crate::lower::Request;
use crate::profile::ExecutionPlan;
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::Profile;
use crate::program::Program;
use crate::tensor::Tensor;
use ndarray::{ArrayD, ArrayRef, Ix3};

/// What a model takes as one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    name: String,
    /// The axes before the features: time and batch, or batch.
    axes: &'static [&'static str],
    features: Option<usize>,
}

impl InputSpec {
    /// Sequences of floats, `[T, B, features]`, which may have lengths.
    pub fn sequence(name: impl Into<String>, features: usize) -> Self {
        Self {
            name: name.into(),
            axes: &["T", "B"],
            features: Some(features),
        }
    }

    /// Sequences of whole numbers, `[T, B]`, which may have lengths.
    pub fn tokens(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            axes: &["T", "B"],
            features: None,
        }
    }

    /// Floats without time, `[B, features]`.
    pub fn features(name: impl Into<String>, features: usize) -> Self {
        Self {
            name: name.into(),
            axes: &["B"],
            features: Some(features),
        }
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The smallest input there can be.
    fn example(&self) -> Signature {
        let mut shape = vec![1; self.axes.len()];
        shape.extend(self.features);
        Signature {
            shape,
            dtype: self.dtype(),
            has_lengths: false,
        }
    }

    fn dtype(&self) -> Dtype {
        match self.features {
            Some(_) => Dtype::Float,
            None => Dtype::Index,
        }
    }

    fn check(&self, feed: &Feed<'_>) -> Result<()> {
        let Signature { shape, dtype, .. } = feed.signature();
        let rank = self.axes.len();
        let features = shape.get(rank).copied();
        let fits =
            features == self.features && shape.len() == rank + usize::from(features.is_some());
        if !fits {
            let axes = self.axes.iter().map(ToString::to_string);
            let all: Vec<_> = axes
                .chain(self.features.map(|count| count.to_string()))
                .collect();
            return Err(Error::shape(
                &self.name,
                &shape,
                format!("[{}]", all.join(", ")),
            ));
        }
        for (axis, size) in self.axes.iter().zip(&shape) {
            check_positive(&format!("{}: {axis}", self.name), *size)?;
        }
        if dtype != self.dtype() {
            let (got, expected) = match dtype {
                Dtype::Float => ("floats", "whole numbers, as tokens are"),
                Dtype::Index => ("class numbers", "floats like the model's input"),
            };
            return Err(Error::argument(&self.name, got, expected));
        }
        match feed.lengths {
            Some(_) if rank < 2 => {
                let name = format!("lengths of {}", self.name);
                Err(Error::argument(name, "given", "none, as it has no time"))
            }
            Some(lengths) => check_lengths(lengths, shape[0], shape[1]),
            None => Ok(()),
        }
    }
}

/// Layers with weights on a device: from named inputs to one output.
///
/// Built by [`Sequential`](super::Sequential), or of any layer. An encoder–decoder without attention, whose decoder starts where the encoder ended:
///
/// ```
/// use bptt::{Device, data::{Batch, Sequence}, graph::Var};
/// use bptt::nn::{InputSpec, Layer, Linear, Lstm, Model, Scope};
/// use bptt::train::{Adam, Trainer};
/// use ndarray::Array3;
///
/// #[derive(Debug)]
/// struct EncoderDecoder { encoder: Lstm, decoder: Lstm, head: Linear }
///
/// impl Layer for EncoderDecoder {
///     type Input = (Var, Var); // [S, B, 3], [T, B, 2]
///     type Output = Var; // [T, B, 2]
///     fn forward(&self, s: &mut Scope<'_>, (source, target): (Var, Var)) -> bptt::Result<Var> {
///         let (_, state) = s.layer("encoder", &self.encoder, (source, None))?;
///         let (y, _) = s.layer("decoder", &self.decoder, (target, Some(state)))?;
///         s.layer("head", &self.head, y)
///     }
/// }
///
/// # fn main() -> bptt::Result<()> {
/// let layer = EncoderDecoder { encoder: Lstm::hidden(8), decoder: Lstm::hidden(8), head: Linear::new(2) };
/// let inputs = [InputSpec::sequence("source", 3), InputSpec::sequence("target", 2)];
/// let model = Model::new(&Device::cpu(), layer, &inputs, 42)?;
/// let mut trainer = Trainer::new(model, Adam::new(1e-2)).build()?;
/// let source = Sequence::new(Array3::<f32>::ones((7, 4, 3))).with_lengths(vec![7, 3, 5, 1]);
/// let target = Sequence::new(Array3::<f32>::ones((5, 4, 2))).with_lengths(vec![2, 5, 4, 3]);
/// trainer.step(&Batch::of([source, target], Array3::<f32>::zeros((5, 4, 2))))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Model {
    device: Device,
    network: Box<dyn Network>,
    inputs: Vec<InputSpec>,
    parameters: Parameters,
    compiled: ShapeCache<Vec<Signature>, Compiled>,
}

impl Model {
    /// Draws a layer's weights, ChaCha8 from `seed`: the same on every device.
    ///
    /// # Errors
    /// Those of the layer on inputs of one step and row, naming what does not fit; [`Error::Limit`] and [`Error::OutOfMemory`].
    pub fn new<L>(device: &Device, layer: L, inputs: &[InputSpec], seed: u64) -> Result<Self>
    where
        L: Layer<Output = Var> + 'static,
        L::Input: Inputs,
    {
        check_count(inputs.len(), L::Input::COUNT)?;
        for input in inputs {
            if let Some(features) = input.features {
                check_positive("features", features)?;
            }
        }
        let mut trace = Trace::declaring();
        let mut vars = vec![];
        for input in inputs {
            vars.push(trace.input(&input.name, &input.example()).0);
        }
        let network: Box<dyn Network> = Box::new(layer);
        network.forward(&mut trace.root(), &vars)?;
        Ok(Self {
            device: device.clone(),
            network,
            inputs: inputs.to_vec(),
            parameters: Parameters::new(device, trace.into_specs(), seed)?,
            compiled: ShapeCache::default(),
        })
    }

    /// Its device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The weights, named `{layer}.{name}` like PyTorch's: of a [`Sequential`](super::Sequential) `0.weight_ih_l0`, `2.bias`, …
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What it takes.
    pub fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    /// The shape of its output for inputs of some shapes.
    ///
    /// # Errors
    /// [`Error::Shape`] where one does not fit.
    pub fn output_shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        check_count(inputs.len(), self.inputs.len())?;
        let signature = |(spec, shape): (&InputSpec, &&[usize])| Signature {
            shape: shape.to_vec(),
            ..spec.example()
        };
        let signatures: Vec<_> = self.inputs.iter().zip(inputs).map(signature).collect();
        for (spec, signature) in self.inputs.iter().zip(&signatures) {
            let example = spec.example();
            let rank = spec.axes.len();
            if signature.shape.len() != example.shape.len()
                || signature.shape[rank..] != example.shape[rank..]
            {
                let axes: Vec<_> = spec.axes.iter().map(ToString::to_string).collect();
                let features = spec.features.map(|count| count.to_string());
                let all: Vec<_> = axes.into_iter().chain(features).collect();
                let expected = format!("[{}]", all.join(", "));
                return Err(Error::shape(&spec.name, &signature.shape, expected));
            }
        }
        let mut trace = Trace::with(&self.parameters, false);
        let (output, _) = self.trace(&mut trace, &signatures)?;
        Ok(trace.graph.shape(output).to_vec())
    }

    /// Writes the model. Returns the output and the places of its inputs.
    pub(crate) fn trace(
        &self,
        trace: &mut Trace,
        signatures: &[Signature],
    ) -> Result<(Var, Vec<InputSlots>)> {
        let mut vars = vec![];
        let mut slots = vec![];
        for (spec, signature) in self.inputs.iter().zip(signatures) {
            let (var, own) = trace.input(&spec.name, signature);
            vars.push(var);
            slots.push(own);
        }
        let output = self.network.forward(&mut trace.root(), &vars)?;
        Ok((output, slots))
    }

    /// The number of rows of a batch that fits.
    pub(crate) fn rows(&self, feeds: &[Feed<'_>]) -> usize {
        let axis = self.inputs[0].axes.len() - 1;
        feeds[0].signature().shape[axis]
    }

    /// `Ok` where inputs fit the model.
    pub(crate) fn check(&self, feeds: &[Feed<'_>]) -> Result<()> {
        check_count(feeds.len(), self.inputs.len())?;
        self.inputs
            .iter()
            .zip(feeds)
            .try_for_each(|(spec, feed)| spec.check(feed))
    }

    /// Runs the model on one input: a tensor, or an [`Input`] with lengths; nothing is dropped at random. On a GPU it does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] where it does not fit; the GPU's errors.
    pub fn forward<'a>(&self, x: impl Into<Input<'a>>) -> Result<Tensor> {
        let input = x.into();
        input.x.check_device(self.first_name(), &self.device)?;
        let values = Values::from(input.x.clone());
        let feed = Feed {
            lengths: input.lengths,
            ..Feed::from(&values)
        };
        Ok(self.run_by(&[feed], Executable::run_with)?.0)
    }

    /// Runs the model on all its inputs, in order.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_all(&self, inputs: &[Sequence]) -> Result<Tensor> {
        let feeds: Vec<_> = inputs.iter().map(Sequence::feed).collect();
        Ok(self.run_by(&feeds, Executable::run_with)?.0)
    }

    fn first_name(&self) -> &str {
        self.inputs.first().map_or("x", |input| &input.name)
    }

    /// What a forward pass over x of this shape, such as `[T, B, F]`, does, and the memory it takes; nothing runs.
    ///
    /// # Errors
    /// [`Error::Shape`] where x does not fit; the GPU's errors.
    pub fn plan(&self, x: &[usize]) -> Result<ExecutionPlan> {
        self.output_shape(&[x])?;
        let signature = Signature {
            shape: x.to_vec(),
            ..self.inputs[0].example()
        };
        let compile = || self.compile(std::slice::from_ref(&signature));
        let plan = |compiled: &Compiled| Ok(compiled.executable.plan());
        self.compiled
            .with(&self.device, vec![signature.clone()], compile, plan)
    }

    /// A forward pass, as [`Model::forward`], each part of it timed. Waits until it is done.
    ///
    /// # Errors
    /// As [`Model::forward`] and [`Executable::profile`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile<'a>(&self, x: impl Into<Input<'a>>) -> Result<Profile> {
        let input = x.into();
        input.x.check_device(self.first_name(), &self.device)?;
        let values = Values::from(input.x.clone());
        let feed = Feed {
            lengths: input.lengths,
            ..Feed::from(&values)
        };
        Ok(self.run_by(&[feed], Executable::profile_with)?.1)
    }

    /// Runs the model on an array and reads the result.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub async fn predict_async<F: Real>(&self, x: &ArrayRef<F, Ix3>) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        self.predict_all_async(&[Sequence::new(x)]).await
    }

    /// Runs the model on sequences of different lengths and reads the result. x: `[T, B, F]`; lengths: `[B]`, as
    /// [`Input::with_lengths`] takes them.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub async fn predict_ragged_async<F: Real>(
        &self,
        x: &ArrayRef<F, Ix3>,
        lengths: &[usize],
    ) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        let x = Sequence::new(x).with_lengths(lengths.to_vec());
        self.predict_all_async(&[x]).await
    }

    /// Runs the model on all its inputs and reads the result.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub async fn predict_all_async<F: Real>(&self, inputs: &[Sequence]) -> Result<ArrayD<F>> {
        self.forward_all(inputs)?.to_array_async().await
    }

    fn run_by<R>(
        &self,
        feeds: &[Feed<'_>],
        execute: impl FnOnce(&Executable, &[TensorCopy<'_>], &[TensorCopy<'_>]) -> Result<R>,
    ) -> Result<(Tensor, R)> {
        self.check(feeds)?;
        let key: Vec<_> = feeds.iter().map(Feed::signature).collect();
        let compile = || self.compile(&feeds.iter().map(Feed::signature).collect::<Vec<_>>());
        self.compiled.with(&self.device, key, compile, |compiled| {
            let y = [Tensor::zeros(&self.device, &compiled.shapes[0])?];
            let result = compiled.run(feeds, Besides::default(), &y, execute)?;
            let [y] = y;
            Ok((y, result))
        })
    }

    fn compile(&self, signatures: &[Signature]) -> Result<Compiled> {
        let mut trace = Trace::with(&self.parameters, false);
        let (output, slots) = self.trace(&mut trace, signatures)?;
        let mut program = Program::new();
        let flat = self.parameters.external(&mut program);
        let parameters = self.parameters.slices(flat);
        let request = Request {
            parameters: &parameters,
            weights: parameters.len(),
            fetches: vec![output],
            feed_together: self.device.is_gpu(),
            ..Request::default()
        };
        let written = Written::new(&trace, program, &request, |_, _| {})?;
        let externals = [self.parameters.flat().clone()];
        written.compile(&self.device, &externals, &trace, slots, &[output])
    }
}

/// Blocking twins.
#[cfg(not(target_arch = "wasm32"))]
impl Model {
    /// Blocking [`Model::predict_async`], with its errors.
    pub fn predict<F: Real>(&self, x: &ArrayRef<F, Ix3>) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        pollster::block_on(self.predict_async(x))
    }

    /// Blocking [`Model::predict_ragged_async`], with its errors.
    pub fn predict_ragged<F: Real>(
        &self,
        x: &ArrayRef<F, Ix3>,
        lengths: &[usize],
    ) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        pollster::block_on(self.predict_ragged_async(x, lengths))
    }

    /// Blocking [`Model::predict_all_async`], with its errors.
    pub fn predict_all<F: Real>(&self, inputs: &[Sequence]) -> Result<ArrayD<F>> {
        pollster::block_on(self.predict_all_async(inputs))
    }
}
