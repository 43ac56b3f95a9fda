//! The programs of training steps and evaluations: traced and compiled for a batch's signature.

use super::sum::numbers;
use super::{Trainer, Watch};
use crate::data::Batch;
use crate::error::{Result, check_shape, require};
use crate::graph::{Dtype, Type, Var};
use crate::lower::{Request, bytes_of, within_budget};
use crate::nn::{Compiled, Draft, Feed, Kept, Signature, Trace, signatures};
use crate::program::product;
use crate::train::loss::Reduction;
use crate::train::metric::Metric;
use crate::train::reduce::{Count, Elements, SUM_LEN};
use std::ops::Range;

/// The numbers of the sum of losses, with the count of steps behind it.
const LOSS_LEN: usize = SUM_LEN + Watch::Losses as usize + 1;

/// A program for one signature, and what each batch is checked for.
#[derive(Debug)]
pub(super) struct StepProgram {
    pub(super) compiled: Compiled,
    /// Class numbers below which targets are.
    classes: Option<usize>,
    /// The input whose lengths the output has, past which targets are not looked at.
    lengths_of: Option<usize>,
    /// How many elements a batch has of each thing that is measured.
    counts: Vec<Count>,
}

impl Kept for StepProgram {
    fn bytes(&self) -> usize {
        self.compiled.bytes()
    }
}

impl StepProgram {
    /// `Ok` where a batch's targets are in their range.
    pub(super) fn check(&self, batch: &Batch) -> Result<()> {
        let Some(classes) = self.classes else {
            return Ok(());
        };
        let shape = batch.target.shape();
        let lengths = self.lengths(batch).filter(|_| shape.len() >= 2);
        let counts = |index: usize| match lengths {
            Some(lengths) => {
                let of_step = product(&shape[2..]);
                let place = index / of_step.max(1);
                place / shape[1] < lengths[place % shape[1]]
            }
            None => true,
        };
        batch.target.check_classes("target", classes, counts)
    }

    /// The lengths that the output has.
    fn lengths<'a>(&self, batch: &'a Batch) -> Option<&'a [usize]> {
        let input = self.lengths_of?;
        batch.inputs[input].lengths.as_deref()
    }

    /// The elements of each thing that is measured of a batch.
    pub(super) fn elements(&self, batch: &Batch) -> Vec<u64> {
        let counts = self.counts.iter();
        counts
            .map(|count| count.elements(self.lengths(batch)))
            .collect()
    }
}

/// A step or an evaluation as a graph.
struct Traced {
    trace: Trace,
    output: Var,
    target: Var,
}

/// What a step computes: the numbers of the sum of losses, and the gradient of each weight.
struct Step {
    sum: Vec<Var>,
    gradients: Vec<Option<Var>>,
}

impl Trainer {
    /// Traces the model, and the target as one more input.
    fn trace(&self, feeds: &[Feed<'_>], training: bool) -> Result<Traced> {
        let signatures = signatures(feeds);
        let [inputs @ .., target] = &signatures[..] else {
            unreachable!("there is a target")
        };
        let mut trace = Trace::new(Some(self.model.parameters()), training);
        let output = self.model.trace(&mut trace, inputs)?;
        let ty = trace.graph.ty(output);
        check_target(target, &self.loss.target(ty), self.loss.classes(ty))?;
        let target = trace.input_beside("target", target, output);
        Ok(Traced {
            trace,
            output,
            target,
        })
    }

    /// The elements of the loss.
    fn elements(&self, of: &mut Traced, reduction: Reduction) -> Result<Elements> {
        let mut scope = of.trace.root();
        let values = self.loss.elements(&mut scope, of.output, of.target)?;
        Ok(Elements::new(&mut scope, values, of.output, reduction))
    }

    fn compile(&self, of: &Traced, draft: Draft, counts: Vec<Count>) -> Result<StepProgram> {
        Ok(StepProgram {
            compiled: draft.compile(self.model.device(), &of.trace)?,
            classes: self.loss.classes(of.trace.graph.ty(of.output)),
            lengths_of: of.trace.input_with_lengths_of(of.output),
            counts,
        })
    }

    pub(super) fn compile_step(&self, feeds: &[Feed<'_>]) -> Result<StepProgram> {
        let (traced, step) = self.trace_step(feeds)?;
        let draft = self.draft_step(&traced, &step)?;
        self.compile(&traced, draft, vec![])
    }

    /// The bytes that a step works in.
    pub(super) fn bytes_of_step(&self, feeds: &[Feed<'_>]) -> Result<usize> {
        let (traced, step) = self.trace_step(feeds)?;
        let draft = self.draft_step(&traced, &step)?;
        bytes_of(&draft.program, self.model.device())
    }

    /// Traces a step: the model, its loss, and the gradients of all weights.
    fn trace_step(&self, feeds: &[Feed<'_>]) -> Result<(Traced, Step)> {
        let mut traced = self.trace(feeds, true)?;
        let elements = self.elements(&mut traced, self.loss.reduction())?;
        let output = traced.output;
        let sum = variables(&mut traced.trace, 0..LOSS_LEN);
        let examples = self.model.rows(feeds) as f64;
        let mut scope = traced.trace.root();
        let loss = elements.reduced(&mut scope);
        let sum = elements.added(&mut scope, &sum, examples);
        let seed = scope.constant(&[], 1.0);
        let d_output = scope.gradients(&[(loss, seed)], &[output])?[0];
        let used = traced.trace.used_weights().iter().zip(self.trained_slots());
        let trained: Vec<_> = used.map(|(var, trained)| var.filter(|_| trained)).collect();
        let mut gradients = vec![None; trained.len()];
        if let Some(d_output) = d_output {
            let mut scope = traced.trace.root();
            let of: Vec<_> = trained.iter().copied().flatten().collect();
            let found = scope.gradients(&[(output, d_output)], &of)?;
            let places = gradients.iter_mut().zip(&trained);
            let places = places.filter(|(_, var)| var.is_some());
            places
                .zip(found)
                .for_each(|((gradient, _), own)| *gradient = own);
        }
        Ok((traced, Step { sum, gradients }))
    }

    /// A step within the memory budget.
    fn draft_step(&self, of: &Traced, step: &Step) -> Result<Draft> {
        self.within_budget(of, |segment| self.draft(of, step, segment))
    }

    /// What is lowered within the memory budget. `draft` is given the steps of a segment of a recurrence.
    fn within_budget(
        &self,
        of: &Traced,
        draft: impl Fn(Option<usize>) -> Result<Draft>,
    ) -> Result<Draft> {
        let (budget, device) = (self.memory_budget, self.model.device());
        within_budget(budget, device, &of.trace.graph, draft, |draft| {
            &draft.program
        })
    }

    /// Lowers a step, with clipping and the optimizers behind it. `segment`: the steps of a segment of a recurrence.
    fn draft(&self, of: &Traced, step: &Step, segment: Option<usize>) -> Result<Draft> {
        let mut draft = Draft::default();
        let places = self.places(&mut draft);
        let sum: Vec<_> = numbers(places.sums.part(0, LOSS_LEN)).collect();
        let parameters = self.model.parameters();
        let weights = parameters.slices(places.weights);
        let gradients = step.gradients.iter().copied();
        let gradients = gradients.zip(parameters.slices(places.gradients));
        let gradients = gradients.filter_map(|(gradient, to)| Some((gradient?, to)));
        let request = Request {
            weights: weights.len(),
            parameters: &[&weights[..], &sum].concat(),
            stores: (step.sum.iter().copied().zip(sum))
                .chain(gradients)
                .collect(),
            segment,
            feed_together: self.model.device().fed_together(),
            scalars: self.scalars().len(),
            ..Request::default()
        };
        draft.lower(&of.trace, &request)?;
        self.push_update(&mut draft, &places);
        Ok(draft)
    }

    pub(super) fn compile_evaluation(
        &self,
        feeds: &[Feed<'_>],
        metrics: &[&dyn Metric],
    ) -> Result<StepProgram> {
        let mut traced = self.trace(feeds, false)?;
        let output = traced.output;
        // Sums, which are divided by all that has been added.
        let mut elements = vec![self.elements(&mut traced, Reduction::Sum)?];
        let target = feeds[feeds.len() - 1].signature();
        for metric in metrics {
            let ty = metric.target(traced.trace.graph.ty(output));
            check_target(&target, &ty, None)?;
            let mut scope = traced.trace.root();
            let values = metric.elements(&mut scope, output, traced.target)?;
            elements.push(Elements::new(&mut scope, values, output, Reduction::Sum));
        }
        let mut sums = vec![];
        for (elements, first) in elements.iter().zip((0..).step_by(SUM_LEN)) {
            let sum = variables(&mut traced.trace, first..first + SUM_LEN);
            sums.extend(elements.added(&mut traced.trace.root(), &sum, 1.0));
        }
        let draft = |segment| self.draft_evaluation(&traced, &sums, segment);
        let draft = self.within_budget(&traced, draft)?;
        let counts = elements.iter().map(Elements::count).collect();
        self.compile(&traced, draft, counts)
    }

    /// Lowers an evaluation. `segment`: the steps of a segment of a recurrence.
    fn draft_evaluation(&self, of: &Traced, sums: &[Var], segment: Option<usize>) -> Result<Draft> {
        let mut draft = Draft::default();
        let parameters = self.model.parameters();
        let flat = draft.external("the weights", parameters.flat());
        let places = draft.external("the loss", &self.evaluation_sums.tensor);
        let weights = parameters.slices(flat);
        let places: Vec<_> = numbers(places).collect();
        let request = Request {
            parameters: &[&weights[..], &places].concat(),
            weights: weights.len(),
            stores: sums.iter().copied().zip(places).collect(),
            segment,
            feed_together: self.model.device().fed_together(),
            ..Request::default()
        };
        draft.lower(&of.trace, &request)?;
        Ok(draft)
    }
}

/// Numbers of the program's besides the weights.
fn variables(trace: &mut Trace, indices: Range<usize>) -> Vec<Var> {
    indices
        .map(|index| trace.variable(index, Type::float([1])))
        .collect()
}

/// `Ok` where a target is of a type: class numbers below `classes`, where it says so.
fn check_target(got: &Signature, expected: &Type, classes: Option<usize>) -> Result<()> {
    check_shape("target", &got.shape, &expected.shape)?;
    let fits = got.dtype == expected.dtype;
    match expected.dtype {
        Dtype::Index => {
            let range = classes.map(|count| format!(" 0 to {}", count.saturating_sub(1)));
            let expected = format!("class numbers{} as u32", range.unwrap_or_default());
            require("target", "floats", fits, expected)
        }
        Dtype::Float => {
            let expected = "floats like the model's output";
            require("target", "class numbers", fits, expected)
        }
    }
}
