//! Batches and where they come from.

mod dataset;
mod pad;
mod standard;
mod values;

pub use dataset::{Dataset, Sequences, Windows};
pub use pad::{pad, unpad};
pub use standard::Standardizer;
pub use values::Values;

use crate::nn::Feed;
use ndarray::Axis;
use std::ops::Range;

/// One input of a batch.
#[derive(Clone, Debug)]
#[must_use]
pub struct Sequence {
    /// `[T, B, F]`, or `[T, B]` of whole numbers, or `[B, F]` without time.
    pub values: Values,
    /// `[B]`, the steps of each row, 0 … T, in any order; all T where absent. What lies past them has no effect.
    pub lengths: Option<Vec<usize>>,
}

impl Sequence {
    /// A sequence of anything that [`Values`] can be made of, all rows of one length.
    pub fn new(values: impl Into<Values>) -> Self {
        Self {
            values: values.into(),
            lengths: None,
        }
    }

    /// Sets the steps of each row.
    pub fn with_lengths(mut self, lengths: Vec<usize>) -> Self {
        self.lengths = Some(lengths);
        self
    }

    /// Some rows of arrays, which are along an axis.
    pub(crate) fn rows(&self, axis: Axis, rows: Range<usize>) -> Self {
        let lengths = self.lengths.as_ref();
        Self {
            values: self.values.part(axis, rows.clone()),
            lengths: lengths.map(|lengths| lengths[rows].to_vec()),
        }
    }

    pub(crate) fn feed(&self) -> Feed<'_> {
        Feed {
            lengths: self.lengths.as_deref(),
            ..Feed::from(&self.values)
        }
    }
}

/// Inputs and targets of one training step.
#[derive(Clone, Debug)]
#[must_use]
pub struct Batch {
    /// One for each input of the model.
    pub inputs: Vec<Sequence>,
    /// What the model should give: like its output, or class numbers without the last dimension. Steps past the output's lengths
    /// are not looked at, and a mean over steps is one over those that there are.
    pub target: Values,
}

impl Batch {
    /// A batch of one input of anything that [`Values`] can be made of.
    pub fn new(x: impl Into<Values>, target: impl Into<Values>) -> Self {
        Self::of([Sequence::new(x)], target)
    }

    /// A batch of several inputs.
    pub fn of(inputs: impl Into<Vec<Sequence>>, target: impl Into<Values>) -> Self {
        Self {
            inputs: inputs.into(),
            target: target.into(),
        }
    }

    /// Sets the steps of each row of the first input.
    pub fn with_lengths(mut self, lengths: Vec<usize>) -> Self {
        if let Some(first) = self.inputs.first_mut() {
            first.lengths = Some(lengths);
        }
        self
    }

    /// The first input.
    pub fn x(&self) -> &Values {
        &self.inputs[0].values
    }

    /// The number of examples: rows of the first input.
    pub(crate) fn examples(&self) -> usize {
        let values = self.x();
        let shape = values.shape();
        // `[T, B, F]` and `[T, B]` of whole numbers have time, `[B, F]` has none.
        let has_time = shape.len() == 3 || values.dtype() == crate::graph::Dtype::Index;
        shape.get(usize::from(has_time)).copied().unwrap_or(1)
    }
}
