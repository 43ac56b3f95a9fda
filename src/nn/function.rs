//! Graphs to be called.

use super::compiled::{Besides, Compiled, Feed, Signature, Written};
use super::parameters::Parameters;
use super::scope::Scope;
use super::trace::Trace;
use super::{Input, ShapeCache, check_lengths};
use crate::data::Values;
use crate::device::Device;
use crate::error::Result;
use crate::executable::Executable;
use crate::graph::Var;
use crate::lower::Request;
use crate::profile::ExecutionPlan;
use crate::program::Program;
use crate::tensor::Tensor;

type Record = dyn Fn(&mut Scope<'_>, &[Var]) -> Result<Vec<Var>> + Send + Sync;

/// A graph of some inputs, compiled for each signature (shapes, kinds, with or without lengths) that it meets.
///
/// What it computes may include gradients, with respect to inputs, states or weights, as values like others: saliency, control, a
/// training loop of one's own.
///
/// ```
/// use bptt::{Device, Tensor, nn::Function};
/// # fn main() -> bptt::Result<()> {
/// let device = Device::cpu();
/// let square = Function::new(&device, |s, inputs| {
///     let x = inputs[0];
///     let y = s.map("square", [x], |[x]| x * x)?;
///     let ones = s.constant(&[2, 3], 1.0);
///     let d_x = s.gradients(&[(y, ones)], &[x])?[0].expect("y depends on x");
///     Ok(vec![y, d_x])
/// });
/// let x = Tensor::from_array(&device, &ndarray::arr2(&[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]))?;
/// let outputs = square.call(&[&x])?;
/// assert_eq!(outputs[0].to_array::<f32>()?[[1, 2]], 36.0);
/// assert_eq!(outputs[1].to_array::<f32>()?[[1, 2]], 12.0);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Function {
    device: Device,
    parameters: Option<Parameters>,
    record: Box<Record>,
    compiled: ShapeCache<(Vec<Signature>, bool), Compiled>,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parameters = &self.parameters;
        f.debug_struct("Function")
            .field("parameters", parameters)
            .finish_non_exhaustive()
    }
}

impl Function {
    /// A function without weights. `record` writes what it computes of its inputs, for every signature anew.
    pub fn new(
        device: &Device,
        record: impl Fn(&mut Scope<'_>, &[Var]) -> Result<Vec<Var>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            device: device.clone(),
            parameters: None,
            record: Box::new(record),
            compiled: ShapeCache::default(),
        }
    }

    /// The same with the weights of a model, which it then reads by their names.
    pub fn with_parameters(mut self, parameters: &Parameters) -> Self {
        self.parameters = Some(parameters.clone());
        self
    }

    /// Calls it on tensors or [`Input`]s with lengths. On a GPU it does not wait. What an [`Input`] says of training holds for all.
    ///
    /// # Errors
    /// Those of the recording, [`Error::Argument`](crate::Error::Argument) for a tensor of another device; the GPU's errors.
    pub fn call<'a, I: Into<Input<'a>> + Copy>(&self, inputs: &[I]) -> Result<Vec<Tensor>> {
        let inputs: Vec<Input<'_>> = inputs.iter().map(|input| (*input).into()).collect();
        let values: Vec<_> = inputs
            .iter()
            .map(|input| Values::from(input.x.clone()))
            .collect();
        let feeds = self.feeds(&inputs, &values)?;
        let random = inputs.iter().find_map(|input| input.random);
        let key = self.key(&feeds, random.is_some());
        self.compiled.with(
            &self.device,
            key.clone(),
            || self.compile(&key),
            |compiled| {
                let zeros = |shape: &Vec<usize>| Tensor::zeros(&self.device, shape);
                let outputs = compiled
                    .shapes
                    .iter()
                    .map(zeros)
                    .collect::<Result<Vec<_>>>()?;
                let besides = Besides {
                    random: random.unwrap_or_default(),
                    ..Besides::default()
                };
                compiled.run(&feeds, besides, &outputs, Executable::run_with)?;
                Ok(outputs)
            },
        )
    }

    /// What a call with such inputs does, and the memory it takes; nothing runs.
    ///
    /// # Errors
    /// As [`Function::call`].
    pub fn plan<'a, I: Into<Input<'a>> + Copy>(&self, inputs: &[I]) -> Result<ExecutionPlan> {
        let inputs: Vec<Input<'_>> = inputs.iter().map(|input| (*input).into()).collect();
        let values: Vec<_> = inputs
            .iter()
            .map(|input| Values::from(input.x.clone()))
            .collect();
        let feeds = self.feeds(&inputs, &values)?;
        let key = self.key(&feeds, inputs.iter().any(|input| input.random.is_some()));
        let plan = |compiled: &Compiled| Ok(compiled.executable.plan());
        self.compiled
            .with(&self.device, key.clone(), || self.compile(&key), plan)
    }

    fn feeds<'a>(&self, inputs: &[Input<'a>], values: &'a [Values]) -> Result<Vec<Feed<'a>>> {
        let mut feeds = vec![];
        for (index, (input, values)) in inputs.iter().zip(values).enumerate() {
            input
                .x
                .check_device(&format!("inputs[{index}]"), &self.device)?;
            if let Some(lengths) = input.lengths {
                let shape = input.x.shape();
                let size = |axis: usize| shape.get(axis).copied().unwrap_or(0);
                check_lengths(lengths, size(0), size(1))?;
            }
            feeds.push(Feed {
                lengths: input.lengths,
                ..Feed::from(values)
            });
        }
        Ok(feeds)
    }

    fn key(&self, feeds: &[Feed<'_>], training: bool) -> (Vec<Signature>, bool) {
        (feeds.iter().map(Feed::signature).collect(), training)
    }

    fn compile(&self, (signatures, training): &(Vec<Signature>, bool)) -> Result<Compiled> {
        let mut trace = match &self.parameters {
            Some(parameters) => Trace::with(parameters, *training),
            None => Trace::without_weights(*training),
        };
        let mut inputs = vec![];
        let mut vars = vec![];
        for (index, signature) in signatures.iter().enumerate() {
            let (var, slots) = trace.input(&format!("inputs[{index}]"), signature);
            vars.push(var);
            inputs.push(slots);
        }
        let fetches = (self.record)(&mut trace.root(), &vars)?;
        let mut program = Program::new();
        let mut externals = vec![];
        let mut parameters = vec![];
        if let Some(weights) = &self.parameters {
            let flat = weights.external(&mut program);
            parameters = weights.slices(flat);
            externals.push(weights.flat().clone());
        }
        let request = Request {
            parameters: &parameters,
            weights: parameters.len(),
            fetches: fetches.clone(),
            feed_together: self.device.is_gpu(),
            ..Request::default()
        };
        let written = Written::new(&trace, program, &request, |_, _| {})?;
        written.compile(&self.device, &externals, &trace, inputs, &fetches)
    }
}
