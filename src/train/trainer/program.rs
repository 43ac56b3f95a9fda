//! The programs of training steps and evaluations: traced and compiled for a batch's signature.

use super::Trainer;
use super::update::Externals;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::graph::{Dtype, Type, Var};
use crate::lower::{Request, within_budget};
use crate::nn::{Compiled, Feed, InputSlots, Signature, Trace, Written};
use crate::tensor::Tensor;
use crate::train::loss::Reduction;
use crate::train::metric::Metric;
use crate::train::reduce::Elements;

/// A program for one signature, and what each batch is checked for.
#[derive(Debug)]
pub(super) struct StepProgram {
    pub(super) compiled: Compiled,
    /// Class numbers below which targets are.
    classes: Option<usize>,
    /// The input whose lengths the output has, past which targets are not looked at.
    lengths_of: Option<usize>,
}

impl StepProgram {
    /// `Ok` where a batch's targets are in their range.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        let Some(classes) = self.classes else {
            return Ok(());
        };
        let shape = batch.target.shape();
        let lengths = self
            .lengths_of
            .and_then(|input| batch.inputs[input].lengths.as_deref());
        let lengths = lengths.filter(|_| shape.len() >= 2);
        let counts = |index: usize| match lengths {
            Some(lengths) => {
                let of_step: usize = shape[2..].iter().product();
                let place = index / of_step.max(1);
                place / shape[1] < lengths[place % shape[1]]
            }
            None => true,
        };
        batch.target.check_classes("target", classes, counts)
    }
}

/// A step or an evaluation as a graph.
struct Traced {
    trace: Trace,
    inputs: Vec<InputSlots>,
    output: Var,
    target: Var,
    /// The input whose lengths the output has.
    lengths_of: Option<usize>,
}

impl Trainer {
    /// Traces the model, and the target as one more input.
    fn trace(&self, feeds: &[Feed<'_>], training: bool) -> Result<Traced> {
        let signatures: Vec<Signature> = feeds.iter().map(Feed::signature).collect();
        let [inputs @ .., target] = &signatures[..] else {
            unreachable!("there is a target")
        };
        let mut trace = Trace::with(self.model.parameters(), training);
        let (output, mut slots) = self.model.trace(&mut trace, inputs)?;
        let ty = trace.graph.ty(output);
        check_target(target, &self.loss.target(ty), self.loss.classes(ty))?;
        let lengths = ty.lengths;
        let lengths_of = slots
            .iter()
            .position(|slots| trace.are_lengths_of(slots, lengths));
        let (target, own) = trace.input("target", target);
        slots.push(own);
        Ok(Traced {
            trace,
            inputs: slots,
            output,
            target,
            lengths_of,
        })
    }

    /// The elements of the loss.
    fn elements(&self, traced: &mut Traced) -> Result<Elements> {
        let mut scope = traced.trace.root();
        let values = self
            .loss
            .elements(&mut scope, traced.output, traced.target)?;
        let reduction = self.loss.reduction();
        Ok(Elements::new(&mut scope, values, traced.output, reduction))
    }

    fn program(&self, traced: &Traced, compiled: Compiled) -> StepProgram {
        let output = traced.trace.graph.ty(traced.output);
        StepProgram {
            compiled,
            classes: self.loss.classes(output),
            lengths_of: traced.lengths_of,
        }
    }

    pub(super) fn compile_step(&self, feeds: &[Feed<'_>]) -> Result<StepProgram> {
        let (mut traced, gradients, total) = self.trace_step(feeds)?;
        let (written, tensors) = self.within_budget(feeds, &traced, &gradients, total)?;
        let inputs = std::mem::take(&mut traced.inputs);
        let device = self.model.device();
        let compiled = written.compile(device, &tensors, &traced.trace, inputs, &[])?;
        Ok(self.program(&traced, compiled))
    }

    /// The program of a step.
    pub(super) fn write_step(&self, feeds: &[Feed<'_>]) -> Result<Written> {
        let (traced, gradients, total) = self.trace_step(feeds)?;
        Ok(self.within_budget(feeds, &traced, &gradients, total)?.0)
    }

    fn within_budget(
        &self,
        feeds: &[Feed<'_>],
        traced: &Traced,
        gradients: &[Option<Var>],
        total: Var,
    ) -> Result<(Written, Vec<Tensor>)> {
        let steps = feeds[0].signature().shape[0];
        let device = self.model.device();
        let write = |segment| self.write(traced, gradients, total, segment);
        within_budget(self.memory_budget, device, steps, write, |(written, _)| {
            &written.program
        })
    }

    /// Traces a step: the model, its loss, and the gradients of all weights.
    fn trace_step(&self, feeds: &[Feed<'_>]) -> Result<(Traced, Vec<Option<Var>>, Var)> {
        let mut traced = self.trace(feeds, true)?;
        let elements = self.elements(&mut traced)?;
        let output = traced.output;
        let sum = traced.trace.variable(0, Type::float([1]));
        let examples = self.model.rows(feeds) as f64;
        let mut scope = traced.trace.root();
        let loss = elements.reduced(&mut scope, None);
        let total = elements.reduced(&mut scope, Some((sum, examples)));
        let seed = scope.constant(&[], 1.0);
        let d_output = scope.gradients(&[(loss, seed)], &[output])?[0];
        let trained = self.trained_slots();
        let weights = traced.trace.used_weights();
        let of: Vec<_> = (weights.iter().zip(&trained))
            .filter_map(|(var, trained)| var.filter(|_| *trained))
            .collect();
        let mut gradients = vec![None; weights.len()];
        if let Some(d_output) = d_output {
            let mut scope = traced.trace.root();
            // What lies past the lengths has no effect, whatever it is.
            let d_output = Elements::masked(&mut scope, d_output, output)?;
            let mut found = scope.gradients(&[(output, d_output)], &of)?.into_iter();
            for (slot, gradient) in gradients.iter_mut().enumerate() {
                if trained[slot] && weights[slot].is_some() {
                    *gradient = found.next().flatten();
                }
            }
        }
        Ok((traced, gradients, total))
    }

    /// Lowers a step, with clipping and the optimizers behind it. `segment`: the steps of a segment of a recurrence.
    fn write(
        &self,
        traced: &Traced,
        gradients: &[Option<Var>],
        total: Var,
        segment: Option<usize>,
    ) -> Result<(Written, Vec<Tensor>)> {
        let mut externals = Externals::new();
        let places = self.places(&mut externals);
        let sum = externals.add("the loss", &self.training_loss.sums);
        let parameters = self.model.parameters();
        let mut slices = parameters.slices(places.weights);
        let weights = slices.len();
        slices.push(sum);
        let to = parameters.slices(places.gradients);
        let mut stores = vec![(total, sum)];
        for (gradient, to) in gradients.iter().zip(to) {
            stores.extend(gradient.map(|gradient| (gradient, to)));
        }
        let request = Request {
            parameters: &slices,
            weights,
            stores,
            fetches: vec![],
            segment,
            feed_together: self.model.device().is_gpu(),
            scalars: self.scalars().len(),
        };
        let Externals { program, tensors } = externals;
        let written = Written::new(&traced.trace, program, &request, |program, lowered| {
            let scalars = lowered.scalars.expect("optimizers have numbers");
            self.push_update(program, &places, scalars);
        })?;
        Ok((written, tensors))
    }

    pub(super) fn compile_evaluation(
        &self,
        feeds: &[Feed<'_>],
        metrics: &[&dyn Metric],
    ) -> Result<StepProgram> {
        let mut traced = self.trace(feeds, false)?;
        let examples = self.model.rows(feeds) as f64;
        let output = traced.output;
        let mut elements = vec![self.elements(&mut traced)?];
        let target = feeds[feeds.len() - 1].signature();
        for metric in metrics {
            let ty = metric.target(traced.trace.graph.ty(output));
            check_target(&target, &ty, None)?;
            let mut scope = traced.trace.root();
            let values = metric.elements(&mut scope, output, traced.target)?;
            elements.push(Elements::new(&mut scope, values, output, Reduction::Mean));
        }
        let mut externals = Externals::new();
        let flat = externals.add("the weights", self.model.parameters().flat());
        let sums = externals.add("the loss", &self.evaluation_sums.sums);
        let mut slices = self.model.parameters().slices(flat);
        let weights = slices.len();
        let mut stores = vec![];
        for (index, elements) in elements.iter().enumerate() {
            let sum = traced.trace.variable(index, Type::float([1]));
            let mut scope = traced.trace.root();
            let total = elements.reduced(&mut scope, Some((sum, examples)));
            slices.push(sums.part(index, 1));
            stores.push((total, sums.part(index, 1)));
        }
        let request = Request {
            parameters: &slices,
            weights,
            stores,
            feed_together: self.model.device().is_gpu(),
            ..Request::default()
        };
        let Externals { program, tensors } = externals;
        let written = Written::new(&traced.trace, program, &request, |_, _| {})?;
        let inputs = std::mem::take(&mut traced.inputs);
        let device = self.model.device();
        let compiled = written.compile(device, &tensors, &traced.trace, inputs, &[])?;
        Ok(self.program(&traced, compiled))
    }
}

/// `Ok` where a target is of a type: class numbers below `classes`, where it says so.
fn check_target(got: &Signature, expected: &Type, classes: Option<usize>) -> Result<()> {
    crate::error::check_shape("target", &got.shape, &expected.shape)?;
    if got.dtype == expected.dtype {
        return Ok(());
    }
    let (got, expected) = match expected.dtype {
        Dtype::Index => {
            let range = classes.map(|count| format!(" 0 to {}", count.saturating_sub(1)));
            let expected = format!("class numbers{} as u32", range.unwrap_or_default());
            ("floats", expected)
        }
        Dtype::Float => ("class numbers", "floats like the model's output".to_owned()),
    };
    Err(Error::argument("target", got, expected))
}
