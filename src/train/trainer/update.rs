//! Clipping and the optimizers' steps: expressions over ranges of the flat tensor of all weights.

use super::Trainer;
use crate::error::{Error, Result};
use crate::executable::Executable;
use crate::expr::{Fold, Lanes, Tape};
use crate::nn::Parameters;
use crate::program::{Map, Operand, Pointwise, Program, Reduce, Slice, View};
use crate::tensor::Tensor;
use crate::train::optimizer::{Optimizer, Update};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

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
        self.optimizer
            .as_ref()
            .map_or(Ok(()), |optimizer| optimizer.check())
    }

    pub(super) fn states(&self) -> usize {
        self.optimizer
            .as_ref()
            .map_or(0, |optimizer| optimizer.states())
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
    let places: Vec<_> = parameters.places().collect();
    let end = parameters.flat().len();
    for (slot, (name, start)) in places.iter().enumerate() {
        // Up to the next weight, the gap between them included.
        let stop = places.get(slot + 1).map_or(end, |(_, start)| *start);
        let fits = |group: &Group| name.starts_with(&group.prefix);
        let own = groups[1..]
            .iter()
            .position(fits)
            .map_or(0, |index| index + 1);
        let group = &mut groups[own];
        group.slots.push(slot);
        match group.ranges.last_mut() {
            Some(last) if last.end == *start => last.end = stop,
            _ => group.ranges.push(*start..stop),
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

/// The tensors that a step changes, as parts of a program.
pub(super) struct Externals {
    pub(super) program: Program,
    pub(super) tensors: Vec<Tensor>,
}

impl Externals {
    pub(super) fn new() -> Self {
        Self {
            program: Program::new(),
            tensors: vec![],
        }
    }

    pub(super) fn add(&mut self, name: &str, tensor: &Tensor) -> Slice {
        self.tensors.push(tensor.clone());
        self.program
            .external(self.tensors.len() - 1, name, tensor.shape())
    }
}

/// What an update works on.
pub(super) struct Places {
    pub(super) weights: Slice,
    pub(super) gradients: Slice,
    clip: Option<Slice>,
    states: Vec<Slice>,
}

impl Trainer {
    /// Adds what an update works on.
    pub(super) fn places(&self, externals: &mut Externals) -> Places {
        let flat = self.model.parameters().flat();
        Places {
            weights: externals.add("the weights", flat),
            gradients: externals.add("the gradients", &self.gradients),
            clip: self
                .clip_norm
                .map(|_| externals.add("the gradient norm", &self.clip)),
            states: (self.states.iter())
                .map(|state| externals.add("the optimizer's state", state))
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

    pub(super) fn frozen_ranges(&self) -> Vec<Range<usize>> {
        let frozen = self.groups.iter().filter(|group| group.optimizer.is_none());
        frozen
            .flat_map(|group| group.ranges.iter().cloned())
            .collect()
    }

    /// The numbers of the next step, those of one group after the other.
    pub(super) fn scalars(&self) -> Vec<f64> {
        let base = self.groups[0].optimizer().learning_rate();
        let numbers = self.trained().flat_map(|(_, optimizer)| {
            let own = optimizer.learning_rate();
            // In proportion to the rate that a schedule has changed.
            let rate = if own == base {
                self.learning_rate
            } else if base == 0.0 {
                own
            } else {
                own * (self.learning_rate / base)
            };
            optimizer.scalars(self.steps + 1, rate)
        });
        numbers.collect()
    }

    /// Appends clipping and the optimizers' steps. `scalars`: where the step's numbers are.
    pub(super) fn push_update(&self, program: &mut Program, of: &Places, scalars: Slice) {
        if let (Some(max_norm), Some(clip)) = (self.clip_norm, of.clip) {
            program.push(clip_norm(of.gradients, clip, max_norm));
        }
        let mut first = 0;
        for (group, optimizer) in self.trained() {
            let count = optimizer.scalars(1, 0.0).len();
            let numbers = scalars.part(first, count);
            first += count;
            for range in &group.ranges {
                program.push(update(optimizer, of, range, numbers));
            }
        }
    }

    /// The update alone.
    pub(super) fn compile_update(&self) -> Result<(Executable, Slice)> {
        let mut externals = Externals::new();
        let places = self.places(&mut externals);
        let scalars = externals
            .program
            .tensor("what is fed", &[self.scalars().len()]);
        self.push_update(&mut externals.program, &places, scalars);
        let device = self.model.device();
        let executable = Executable::new(device, externals.program, &externals.tensors)?;
        Ok((executable, scalars))
    }
}

/// clip = [‖gradients‖₂, min(1, max_norm / (‖gradients‖₂ + 1e-6))]: PyTorch's `clip_grad_norm_`, the scale applied by the optimizer.
fn clip_norm(gradients: Slice, clip: Slice, max_norm: f64) -> Reduce {
    let tape = Tape::new();
    let g = tape.operand(0);
    let norm = tape.statistic(Fold::Sum, g * g).sqrt();
    let scale = tape.constant(max_norm) / (norm + 1e-6);
    // A NaN norm stays a NaN scale.
    let one = tape.constant(1.0);
    let scale = (one - scale).where_positive(scale, one);
    Reduce::new(Pointwise {
        name: Cow::Borrowed("clip_norm"),
        shape: vec![gradients.len],
        folded: 1,
        operands: vec![Operand::Float(View::new(gradients, [1]))],
        body: Arc::new(tape.finish(&[], &[norm, scale])),
        elements: vec![],
        results: vec![
            View::new(clip.part(0, 1), []),
            View::new(clip.part(1, 1), []),
        ],
    })
}

/// An optimizer's step over some weights.
fn update(optimizer: &dyn Optimizer, of: &Places, range: &Range<usize>, numbers: Slice) -> Map {
    let part = |slice: Slice| View::new(slice.part(range.start, range.len()), [1]);
    let states = &of.states[..optimizer.states()];
    let changed: Vec<_> = std::iter::once(of.weights)
        .chain(states.iter().copied())
        .map(part)
        .collect();
    let mut operands: Vec<_> = changed.iter().cloned().map(Operand::Float).collect();
    operands.push(Operand::Float(part(of.gradients)));
    let number = |index: usize| Operand::Float(View::new(numbers.part(index, 1), [0]));
    operands.extend((0..numbers.len).map(number));
    operands.extend(
        of.clip
            .map(|clip| Operand::Float(View::new(clip.part(1, 1), [0]))),
    );
    Map::new("update", &[range.len()], operands, changed, |tape| {
        let mut states: Vec<_> = (0..states.len())
            .map(|index| tape.operand(1 + index))
            .collect();
        let first = 2 + states.len();
        let scalars: Vec<_> = (0..numbers.len)
            .map(|index| tape.operand(first + index))
            .collect();
        let mut gradient = tape.operand(first - 1);
        if of.clip.is_some() {
            gradient = gradient * tape.operand(first + numbers.len);
        }
        let weight = optimizer.update(Update {
            weight: tape.operand(0),
            gradient,
            states: &mut states,
            scalars: &scalars,
        });
        std::iter::once(weight).chain(states).collect()
    })
}
