//! Layers with weights on a device.

use super::Input;
use super::calls::Calls;
use super::compiled::Execute;
use super::feed::{Feed, Signature};
use super::input_spec::InputSpec;
use super::layer::{Inputs, Layer, Network};
use super::parameters::Parameters;
use super::trace::Trace;
use crate::data::Sequence;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::executable::Executable;
use crate::graph::Var;
use crate::profile::ExecutionPlan;
#[cfg(not(target_arch = "wasm32"))]
use crate::profile::Profile;
use crate::tensor::Tensor;

/// Layers with weights on a device: from named inputs to one output.
///
/// Built by [`Sequential`](super::Sequential), or of any layer. An encoder–decoder without attention, whose decoder starts where
/// the encoder ended:
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
    network: Box<dyn Network>,
    pub(super) inputs: Vec<InputSpec>,
    parameters: Parameters,
    calls: Calls,
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
        inputs.iter().try_for_each(InputSpec::check_features)?;
        let network: Box<dyn Network> = Box::new(layer);
        let mut trace = Trace::default();
        let examples: Vec<_> = inputs.iter().map(InputSpec::example).collect();
        record(&*network, inputs, &mut trace, &examples)?;
        let parameters = Parameters::new(device, trace.specs, seed)?;
        Ok(Self {
            network,
            inputs: inputs.to_vec(),
            calls: Calls::new(device, Some(parameters.clone())),
            parameters,
        })
    }

    /// The device that the model is on.
    pub fn device(&self) -> &Device {
        &self.calls.device
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
        let signatures = self.signatures(inputs)?;
        let mut trace = Trace::new(Some(&self.parameters), false);
        let output = self.trace(&mut trace, &signatures)?;
        Ok(trace.graph.shape(output).to_vec())
    }

    /// Inputs of some shapes, where these fit.
    fn signatures(&self, shapes: &[&[usize]]) -> Result<Vec<Signature>> {
        check_count(shapes.len(), self.inputs.len())?;
        let inputs = self.inputs.iter().zip(shapes);
        inputs
            .map(|(spec, shape)| spec.check_shape(shape).map(|()| spec.signature(shape)))
            .collect()
    }

    /// Writes the model. Returns the output.
    pub(crate) fn trace(&self, trace: &mut Trace, signatures: &[Signature]) -> Result<Var> {
        record(&*self.network, &self.inputs, trace, signatures)
    }

    /// The number of rows of a batch that fits.
    pub(crate) fn rows(&self, feeds: &[Feed<'_>]) -> usize {
        feeds[0].signature().shape[self.inputs[0].batch_axis()]
    }

    /// `Ok` where inputs fit the model.
    pub(crate) fn check(&self, feeds: &[Feed<'_>]) -> Result<()> {
        check_count(feeds.len(), self.inputs.len())?;
        let mut inputs = self.inputs.iter().zip(feeds);
        inputs.try_for_each(|(spec, feed)| {
            spec.check(feed)?;
            feed.check_device(spec.name(), self.device())
        })
    }

    /// Runs the model on one input: a tensor, or an [`Input`] with lengths; nothing is dropped at random. On a GPU it does not wait.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] where it does not fit; the GPU's errors.
    pub fn forward<'a>(&self, x: impl Into<Input<'a>>) -> Result<Tensor> {
        Ok(self.run_on(x.into(), Executable::run_with)?.0)
    }

    /// Runs the model on all its inputs, in order. Errors as [`Model::forward`].
    pub fn forward_all(&self, inputs: &[Sequence]) -> Result<Tensor> {
        let feeds: Vec<_> = inputs.iter().map(Sequence::feed).collect();
        Ok(self.run(&feeds, Executable::run_with)?.0)
    }

    /// What a forward pass over x of this shape, such as `[T, B, F]`, does, and the memory it takes; nothing runs.
    ///
    /// # Errors
    /// [`Error::Shape`] where x does not fit; the GPU's errors.
    pub fn plan(&self, x: &[usize]) -> Result<ExecutionPlan> {
        let key = (self.signatures(&[x])?, false);
        self.calls
            .plan(key, |trace, of| Ok(vec![self.trace(trace, of)?]))
    }

    /// A forward pass, as [`Model::forward`], each part of it timed. Waits until it is done.
    /// Errors as [`Model::forward`] and [`Executable::profile`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile<'a>(&self, x: impl Into<Input<'a>>) -> Result<Profile> {
        Ok(self.run_on(x.into(), Executable::profile_with)?.1)
    }

    fn run_on<R>(&self, input: Input<'_>, execute: Execute<R>) -> Result<(Tensor, R)> {
        self.run(&[Feed::from(input)], execute)
    }

    fn run<R>(&self, feeds: &[Feed<'_>], execute: Execute<R>) -> Result<(Tensor, R)> {
        self.check(feeds)?;
        let record = |trace: &mut Trace, of: &[Signature]| Ok(vec![self.trace(trace, of)?]);
        let (outputs, result) = self.calls.call(feeds, None, record, execute)?;
        let [output] = <[Tensor; 1]>::try_from(outputs).expect("a model has one output");
        Ok((output, result))
    }
}

/// Writes a network with inputs of these names.
fn record(
    network: &dyn Network,
    inputs: &[InputSpec],
    trace: &mut Trace,
    signatures: &[Signature],
) -> Result<Var> {
    let inputs = inputs.iter().zip(signatures);
    let vars: Vec<_> = inputs
        .map(|(spec, of)| trace.input(spec.name(), of))
        .collect();
    network.forward(&mut trace.root(), &vars)
}

/// `Ok` where there are as many inputs as there should be.
fn check_count(inputs: usize, expected: usize) -> Result<()> {
    if inputs == expected {
        return Ok(());
    }
    let expected = format!("{expected} of them");
    Err(Error::argument("inputs", inputs, expected))
}
