//! A training as it was, to be gone back to.

use super::{Trainer, Watch};
use crate::error::Result;
use crate::executable::{Executable, copy_all};
use crate::expr::{Fold, Tape};
use crate::program::{Operand, Pointwise, Program, Reduce, View};
use crate::tensor::Tensor;
use crate::train::reduce::SUM_LEN;
use std::borrow::Cow;
use std::sync::Arc;

/// Weights, optimizer states and number of steps of one time, which belong together.
#[derive(Debug)]
pub(crate) struct Snapshot {
    tensors: Vec<Tensor>,
    steps: u64,
}

impl Snapshot {
    /// A trainer as it is now.
    pub(crate) fn new(of: &Trainer) -> Result<Self> {
        let like = |tensor: &Tensor| {
            Tensor::named(
                tensor.device(),
                "weights and optimizer states to go back to",
                tensor.shape(),
            )
        };
        let tensors = of.changing().map(like).collect::<Result<_>>()?;
        let mut snapshot = Self { tensors, steps: 0 };
        snapshot.take(of)?;
        Ok(snapshot)
    }

    /// The trainer as it is now instead.
    pub(crate) fn take(&mut self, of: &Trainer) -> Result<()> {
        self.steps = of.steps;
        let pairs: Vec<_> = of.changing().zip(&self.tensors).collect();
        copy_all(&pairs)
    }

    /// Makes the trainer what it was.
    pub(crate) fn restore(&self, to: &mut Trainer) -> Result<()> {
        let pairs: Vec<_> = self.tensors.iter().zip(to.changing()).collect();
        copy_all(&pairs)?;
        to.steps = self.steps;
        // Losses are counted from here on.
        to.taken_at = self.steps;
        Ok(())
    }
}

impl Trainer {
    /// What a step changes.
    fn changing(&self) -> impl Iterator<Item = &Tensor> {
        std::iter::once(self.model.parameters().flat()).chain(&self.states)
    }

    /// Looks for trained weights and optimizer states that are not finite; [`Trainer::take_async`] says whether there are. Does not wait.
    pub(crate) fn look_for_nonfinite(&mut self) -> Result<()> {
        if self.look.is_none() {
            self.look = Some(self.compile_look()?);
        }
        match &self.look {
            Some(look) => look.run(),
            None => Ok(()),
        }
    }

    fn compile_look(&self) -> Result<Executable> {
        let mut program = Program::new();
        let mut externals = vec![self.training_loss.tensor.clone()];
        let sums = program.external(0, "the loss", externals[0].shape());
        let found = sums.part(SUM_LEN + Watch::Broken as usize, 1);
        let mut all = vec![];
        for tensor in self.changing() {
            all.push(program.external(externals.len(), "the training", tensor.shape()));
            externals.push(tensor.clone());
        }
        for range in self.trained_ranges() {
            let tape = Tape::new();
            let finite = (1..=all.len()).map(|index| Some(tape.operand(index).finite()));
            let finite = tape.sum(finite).unwrap_or(tape.constant(0.0));
            let broken = tape.constant(all.len() as f64) - finite;
            let count = tape.operand(0) + tape.statistic(Fold::Sum, broken);
            let part = |of: &_| {
                View::new(
                    crate::program::Slice::part(*of, range.start, range.len()),
                    [1],
                )
            };
            let before = View::new(found, [0]);
            let operands = std::iter::once(before).chain(all.iter().map(part));
            program.push(Reduce::new(Pointwise {
                name: Cow::Borrowed("nonfinite"),
                shape: vec![range.len()],
                folded: 1,
                operands: operands.map(Operand::Float).collect(),
                body: Arc::new(tape.finish(&[], &[count])),
                elements: vec![],
                results: vec![View::new(found, [])],
            }));
        }
        Executable::new(self.model.device(), program, &externals)
    }
}
