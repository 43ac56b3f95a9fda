//! A computation that is called: compiled for each signature it meets.

use super::cache::ShapeCache;
use super::compiled::{Compiled, Draft, Draw, Execute};
use super::feed::{Feed, Signature, signatures};
use super::parameters::Parameters;
use super::trace::Trace;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Var;
use crate::lower::{Request, bytes_of, within_budget};
use crate::profile::ExecutionPlan;
use crate::tensor::Tensor;

/// What was compiled of a computation: for each signature, in training or not, an executable and the shapes of what it gives.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) device: Device,
    pub(super) parameters: Option<Parameters>,
    compiled: ShapeCache<Key, (Compiled, Vec<Vec<usize>>)>,
}

type Key = (Vec<Signature>, bool);

impl Calls {
    pub(super) fn new(device: &Device, parameters: Option<Parameters>) -> Self {
        Self {
            device: device.clone(),
            parameters,
            compiled: ShapeCache::default(),
        }
    }

    /// Runs the computation that `record` writes, and gives its values.
    pub(super) fn call<R>(
        &self,
        feeds: &[Feed<'_>],
        random: Option<Draw>,
        record: impl Fn(&mut Trace, &[Signature]) -> Result<Vec<Var>>,
        execute: Execute<R>,
    ) -> Result<(Vec<Tensor>, R)> {
        let key = (signatures(feeds), random.is_some());
        let compile = |key: &Key| self.compile(key, &record);
        self.compiled
            .with(&self.device, key, compile, |(compiled, shapes)| {
                let zeros = |shape: &Vec<usize>| Tensor::named(&self.device, "the output", shape);
                let outputs = shapes.iter().map(zeros).collect::<Result<Vec<_>>>()?;
                let random = random.unwrap_or_default();
                let places: Vec<_> = outputs.iter().map(|output| (output, 0)).collect();
                let result = compiled.run(feeds, random, &[], &places, execute)?;
                Ok((outputs, result))
            })
    }

    /// What a call would do.
    pub(super) fn plan(
        &self,
        key: Key,
        record: impl Fn(&mut Trace, &[Signature]) -> Result<Vec<Var>>,
    ) -> Result<ExecutionPlan> {
        let compile = |key: &Key| self.compile(key, &record);
        self.compiled
            .with(&self.device, key, compile, |(compiled, _)| {
                Ok(compiled.executable.plan())
            })
    }

    fn compile(
        &self,
        (signatures, training): &Key,
        record: impl Fn(&mut Trace, &[Signature]) -> Result<Vec<Var>>,
    ) -> Result<(Compiled, Vec<Vec<usize>>)> {
        let mut trace = Trace::new(self.parameters.as_ref(), *training);
        let fetches = record(&mut trace, signatures)?;
        let shape = |var: &Var| trace.graph.shape(*var).to_vec();
        let shapes = fetches.iter().map(shape).collect();
        let draft = |segment| self.draft(&trace, &fetches, segment);
        let (device, graph) = (&self.device, &trace.graph);
        let within = |budget| within_budget(budget, device, graph, draft, |draft| &draft.program);
        let whole = within(None)?;
        let mut bytes = bytes_of(&whole.program, device)?;
        let outcome = whole.compile(device, &trace);
        let Err(too_much @ Error::OutOfMemory { .. }) = outcome else {
            return Ok((outcome?, shapes));
        };
        // Where it does not fit, recurrences in segments may.
        while let Ok(cut) = within(Some(bytes / 2)) {
            bytes = bytes_of(&cut.program, device)?;
            match cut.compile(device, &trace) {
                Err(Error::OutOfMemory { .. }) => {}
                outcome => return Ok((outcome?, shapes)),
            }
        }
        Err(too_much)
    }

    /// Lowers what was traced. `segment`: the steps of a segment of a recurrence.
    fn draft(&self, trace: &Trace, fetches: &[Var], segment: Option<usize>) -> Result<Draft> {
        let mut draft = Draft::default();
        let weights = self.parameters.as_ref().map_or(vec![], |parameters| {
            parameters.slices(draft.external("the weights", parameters.flat()))
        });
        let request = Request {
            parameters: &weights,
            weights: weights.len(),
            fetches: fetches.to_vec(),
            segment,
            feed_together: self.device.fed_together(),
            ..Request::default()
        };
        draft.lower(trace, &request)?;
        Ok(draft)
    }
}
