//! Clipping and the optimizers' steps: expressions over ranges of the flat tensor of all weights.

use super::clip::{Scales, clip_norm};
use super::sum::numbers as one_by_one;
use super::{Trainer, Watch};
use crate::error::{Error, Result};
use crate::expr::Lanes;
use crate::lower::Request;
use crate::nn::{Compiled, Draft, Parameters, Trace};
use crate::program::{Map, Operand, Slice, View};
use crate::train::optimizer::{Optimizer, Update};
use crate::train::reduce::SUM_LEN;
use std::ops::Range;

/// Weights with one optimizer, or with none.
#[derive(Debug)]
pub(super) struct Group {
    prefix: String,
    optimizer: Option<Box<dyn Optimizer>>,
    /// Where its weights are in the flat tensor, and which they are.
    ranges: Vec<Range<usize>>,
    slots: Vec<usize>,
}

impl Group {
    pub(super) fn new(prefix: impl Into<String>, optimizer: Option<Box<dyn Optimizer>>) -> Self {
        Self {
            prefix: prefix.into(),
            optimizer,
            ranges: vec![],
            slots: vec![],
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        self.optimizer.as_ref().map_or(Ok(()), |own| own.check())
    }

    pub(super) fn states(&self) -> usize {
        self.optimizer.as_ref().map_or(0, |own| own.states())
    }

    /// The rate that it starts from; 0 where it is frozen.
    pub(super) fn own_rate(&self) -> f64 {
        self.optimizer
            .as_ref()
            .map_or(0.0, |own| own.learning_rate())
    }

    /// The optimizer of a group that is not frozen, as the first is not.
    pub(super) fn optimizer(&self) -> &dyn Optimizer {
        self.optimizer
            .as_deref()
            .expect("the first group has an optimizer")
    }
}

/// Gives every weight to its group.
pub(super) fn assign(groups: &mut [Group], parameters: &Parameters) -> Result<()> {
    let specs = parameters.specs();
    let end = parameters.flat().len();
    for (slot, spec) in specs.iter().enumerate() {
        // Up to the next weight, the gap between them included.
        let start = spec.offset;
        let stop = specs.get(slot + 1).map_or(end, |next| next.offset);
        let fits = |group: &Group| spec.name.starts_with(&group.prefix);
        let own = groups[1..].iter().position(fits);
        let group = &mut groups[own.map_or(0, |index| index + 1)];
        group.slots.push(slot);
        match group.ranges.last_mut() {
            Some(last) if last.end == start => last.end = stop,
            _ => group.ranges.push(start..stop),
        }
    }
    match groups[1..].iter().find(|group| group.slots.is_empty()) {
        Some(group) => {
            let expected = "the start of a weight's name that no earlier group has";
            Err(Error::argument("prefix", &group.prefix, expected))
        }
        None => Ok(()),
    }
}

/// What an update works on.
pub(super) struct Places {
    pub(super) weights: Slice,
    pub(super) gradients: Slice,
    /// The sum of losses, with the numbers behind it.
    pub(super) sums: Slice,
    /// `[3]`, see [`clip_norm`].
    clip: Option<Slice>,
    states: Vec<Slice>,
}

impl Trainer {
    /// Adds what an update works on.
    pub(super) fn places(&self, draft: &mut Draft) -> Places {
        let flat = self.model.parameters().flat();
        Places {
            weights: draft.external("the weights", flat),
            gradients: draft.external("the gradients", &self.gradients),
            sums: draft.external("the loss", &self.training_loss.tensor),
            clip: self
                .clip_norm
                .map(|_| draft.external("the gradient norm", &self.clip)),
            states: (self.states.iter())
                .map(|state| draft.external("the optimizer's state", state))
                .collect(),
        }
    }

    /// The groups that are trained.
    fn trained(&self) -> impl Iterator<Item = (&Group, &dyn Optimizer)> {
        let groups = self.groups.iter();
        groups.filter_map(|group| Some((group, group.optimizer.as_deref()?)))
    }

    /// The weights that are trained.
    pub(super) fn trained_slots(&self) -> Vec<bool> {
        let mut trained = vec![false; self.model.parameters().names().count()];
        for (group, _) in self.trained() {
            group.slots.iter().for_each(|slot| trained[*slot] = true);
        }
        trained
    }

    pub(super) fn trained_ranges(&self) -> Vec<Range<usize>> {
        let groups = self.trained().map(|(group, _)| group);
        groups
            .flat_map(|group| group.ranges.iter().cloned())
            .collect()
    }

    pub(super) fn frozen_ranges(&self) -> Vec<Range<usize>> {
        let frozen = self.groups.iter().filter(|group| group.optimizer.is_none());
        frozen
            .flat_map(|group| group.ranges.iter().cloned())
            .collect()
    }

    /// The numbers of the next step, those of one group after the other.
    pub(super) fn scalars(&self) -> Vec<f64> {
        let trained = self.groups.iter().zip(&self.rates);
        let numbers = trained.filter_map(|(group, rate)| {
            let optimizer = group.optimizer.as_deref()?;
            Some(optimizer.scalars(self.steps + 1, *rate))
        });
        numbers.flatten().collect()
    }

    /// Appends clipping and the optimizers' steps.
    pub(super) fn push_update(&self, draft: &mut Draft, of: &Places) {
        let scalars = draft.lowered.scalars.expect("optimizers have numbers");
        let program = &mut draft.program;
        if let (Some(max_norm), Some(clip)) = (self.clip_norm, of.clip) {
            let range = Scales::of(self.model.device());
            let count = of.sums.part(SUM_LEN + Watch::Norms as usize, 1);
            program.push(clip_norm(of.gradients, (clip, count), max_norm, range));
        }
        let mut first = 0;
        for (group, optimizer) in self.trained() {
            let count = optimizer.scalars(1, 0.0).len();
            let numbers = scalars.part(first, count);
            first += count;
            for range in &group.ranges {
                program.push(self.update(optimizer, of, range, numbers));
            }
        }
    }

    /// The update alone.
    pub(super) fn compile_update(&self) -> Result<Compiled> {
        let mut draft = Draft::default();
        let places = self.places(&mut draft);
        let request = Request {
            scalars: self.scalars().len(),
            ..Request::default()
        };
        let trace = Trace::default();
        draft.lower(&trace, &request)?;
        self.push_update(&mut draft, &places);
        draft.compile(self.model.device(), &trace)
    }

    /// An optimizer's step over some weights.
    fn update(
        &self,
        optimizer: &dyn Optimizer,
        of: &Places,
        range: &Range<usize>,
        numbers: Slice,
    ) -> Map {
        let part = |slice: Slice| View::new(slice.part(range.start, range.len()), [1]);
        let count = optimizer.states();
        let states = of.states[..count].iter().copied();
        let changed: Vec<_> = std::iter::once(of.weights)
            .chain(states)
            .map(part)
            .collect();
        // Weight, states, gradient, the step's numbers, and what clipping multiplies by.
        let elements = changed.iter().cloned().chain([part(of.gradients)]);
        let factors = of.clip.map(|clip| clip.part(1, 2));
        let everywhere = std::iter::once(numbers).chain(factors).flat_map(one_by_one);
        let everywhere = everywhere.map(|number| View::new(number, [0]));
        let operands = elements.chain(everywhere).map(Operand::Float).collect();
        Map::new("update", &[range.len()], operands, changed, |tape| {
            let exprs = |range: Range<usize>| range.map(|index| tape.operand(index));
            let first = 2 + count;
            let old: Vec<_> = exprs(0..1 + count).collect();
            let scalars: Vec<_> = exprs(first..first + numbers.len).collect();
            let mut gradient = tape.operand(1 + count);
            let factors: Vec<_> =
                exprs(first + numbers.len..first + numbers.len + factors.map_or(0, |of| of.len))
                    .collect();
            for factor in &factors {
                // One after the other.
                gradient = (gradient * *factor).stored();
            }
            if let Some(most) = self.clip_value {
                gradient = gradient.min(tape.constant(most)).max(tape.constant(-most));
            }
            let mut states = old[1..].to_vec();
            let weight = optimizer.update(Update {
                weight: old[0],
                gradient,
                states: &mut states,
                scalars: &scalars,
            });
            let new = std::iter::once(weight).chain(states);
            let Some(factor) = factors.last().filter(|_| self.error_if_nonfinite) else {
                return new.collect();
            };
            let fits = factor.finite() - 0.5;
            new.zip(old)
                .map(|(new, old)| fits.where_positive(new, old))
                .collect()
        })
    }
}
