//! Graphs to be called.

use super::calls::Calls;
use super::compiled::Draw;
use super::feed::{Feed, Signature, signatures};
use super::parameters::Parameters;
use super::scope::Scope;
use super::trace::Trace;
use super::{Input, check_lengths};
use crate::device::Device;
use crate::error::Result;
use crate::executable::Executable;
use crate::graph::Var;
use crate::profile::ExecutionPlan;
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
    record: Box<Record>,
    calls: Calls,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function")
            .field("parameters", &self.calls.parameters)
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
            record: Box::new(record),
            calls: Calls::new(device, None),
        }
    }

    /// The same with the weights of a model, which it then reads by their names.
    pub fn with_parameters(mut self, parameters: &Parameters) -> Self {
        self.calls = Calls::new(&self.calls.device, Some(parameters.clone()));
        self
    }

    /// Calls it on tensors or [`Input`]s with lengths. On a GPU it does not wait. What an [`Input`] says of training holds for all.
    ///
    /// # Errors
    /// Those of the recording, [`Error::Argument`](crate::Error::Argument) for a tensor of another device; the GPU's errors.
    pub fn call<'a, I: Into<Input<'a>> + Copy>(&self, inputs: &[I]) -> Result<Vec<Tensor>> {
        let (feeds, random) = self.feeds(inputs)?;
        let record = |trace: &mut Trace, of: &[Signature]| self.record(trace, of);
        let called = self
            .calls
            .call(&feeds, random, record, Executable::run_with);
        Ok(called?.0)
    }

    /// What a call with such inputs does, and the memory it takes; nothing runs. Errors as [`Function::call`].
    pub fn plan<'a, I: Into<Input<'a>> + Copy>(&self, inputs: &[I]) -> Result<ExecutionPlan> {
        let (feeds, random) = self.feeds(inputs)?;
        let key = (signatures(&feeds), random.is_some());
        self.calls.plan(key, |trace, of| self.record(trace, of))
    }

    /// What is fed, and what is random.
    fn feeds<'a, I: Into<Input<'a>> + Copy>(
        &self,
        inputs: &[I],
    ) -> Result<(Vec<Feed<'a>>, Option<Draw>)> {
        let (mut feeds, mut random) = (vec![], None);
        for (index, input) in inputs.iter().enumerate() {
            let input: Input<'a> = (*input).into();
            let name = format!("inputs[{index}]");
            input.x.check_device(&name, &self.calls.device)?;
            if let Some(lengths) = input.lengths {
                let size = |axis: usize| input.x.shape().get(axis).copied().unwrap_or(0);
                check_lengths(lengths, size(0), size(1))?;
            }
            feeds.push(Feed::from(input));
            random = random.or(input.random);
        }
        Ok((feeds, random))
    }

    fn record(&self, trace: &mut Trace, signatures: &[Signature]) -> Result<Vec<Var>> {
        let inputs = signatures.iter().enumerate();
        let inputs = inputs.map(|(index, of)| trace.input(&format!("inputs[{index}]"), of));
        let inputs: Vec<_> = inputs.collect();
        (self.record)(&mut trace.root(), &inputs)
    }
}
