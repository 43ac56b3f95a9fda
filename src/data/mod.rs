//! Batches and where they come from.

mod dataset;
mod pad;
mod standard;
mod values;

pub use dataset::{Dataset, Sequences, Windows};
pub use pad::{pad, unpad};
pub use standard::Standardizer;
pub use values::Values;

/// Inputs and targets of one training step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[T, B, F]`
    pub x: Values,
    /// What the model should give: like its output, or class numbers without the last dimension.
    pub target: Values,
    /// `[B]`, the steps of each row, 0 … T, in any order; all T where absent. Steps past them have no effect: their targets are not
    /// looked at, and a mean over steps is one over those that there are.
    pub lengths: Option<Vec<usize>>,
}

impl Batch {
    /// A batch of anything that [`Values`] can be made of.
    pub fn new(x: impl Into<Values>, target: impl Into<Values>) -> Self {
        Self {
            x: x.into(),
            target: target.into(),
            lengths: None,
        }
    }

    /// Sets the steps of each row.
    #[must_use]
    pub fn with_lengths(self, lengths: Vec<usize>) -> Self {
        Self {
            lengths: Some(lengths),
            ..self
        }
    }
}
