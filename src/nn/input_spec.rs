//! What a model takes.

use super::check_lengths;
use super::feed::{Feed, Signature};
use crate::error::{Error, Result, check_positive};
use crate::graph::Dtype;

/// What a model takes as one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    name: String,
    /// The axes before the features: time and batch, or batch.
    axes: &'static [&'static str],
    features: Option<usize>,
}

impl InputSpec {
    /// Sequences of floats, `[T, B, features]`, which may have lengths.
    pub fn sequence(name: impl Into<String>, features: usize) -> Self {
        Self::new(name, &["T", "B"], Some(features))
    }

    /// Sequences of whole numbers, `[T, B]`, which may have lengths.
    pub fn tokens(name: impl Into<String>) -> Self {
        Self::new(name, &["T", "B"], None)
    }

    /// Floats without time, `[B, features]`.
    pub fn features(name: impl Into<String>, features: usize) -> Self {
        Self::new(name, &["B"], Some(features))
    }

    fn new(
        name: impl Into<String>,
        axes: &'static [&'static str],
        features: Option<usize>,
    ) -> Self {
        Self {
            name: name.into(),
            axes,
            features,
        }
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The axis of the batch.
    pub(super) fn batch_axis(&self) -> usize {
        self.axes.len() - 1
    }

    /// An input of one step and row.
    pub(super) fn example(&self) -> Signature {
        let mut shape = vec![1; self.axes.len()];
        shape.extend(self.features);
        self.signature(&shape)
    }

    /// An input of a shape, without lengths.
    pub(super) fn signature(&self, shape: &[usize]) -> Signature {
        Signature {
            dtype: self.dtype(),
            ..Signature::float(shape)
        }
    }

    fn dtype(&self) -> Dtype {
        match self.features {
            Some(_) => Dtype::Float,
            None => Dtype::Index,
        }
    }

    /// `Ok` where there can be an input at all.
    pub(super) fn check_features(&self) -> Result<()> {
        self.features
            .map_or(Ok(()), |features| check_positive("features", features))
    }

    /// `Ok` where a shape has the axes, with something along each, and the features.
    pub(super) fn check_shape(&self, shape: &[usize]) -> Result<()> {
        if shape.get(self.axes.len()..) == Some(self.features.as_slice()) {
            let mut axes = self.axes.iter().zip(shape);
            return match axes.find(|(_, size)| **size == 0) {
                Some((axis, _)) => check_positive(&format!("{}: {axis}", self.name), 0),
                None => Ok(()),
            };
        }
        let axes = self.axes.iter().map(ToString::to_string);
        let all: Vec<_> = axes
            .chain(self.features.map(|count| count.to_string()))
            .collect();
        let expected = format!("[{}]", all.join(", "));
        Err(Error::shape(&self.name, shape, expected))
    }

    /// `Ok` where what is fed fits.
    pub(super) fn check(&self, feed: &Feed<'_>) -> Result<()> {
        let (shape, dtype) = feed.ty();
        self.check_shape(shape)?;
        if dtype != self.dtype() {
            let (got, expected) = match dtype {
                Dtype::Float => ("floats", "whole numbers, as tokens are"),
                Dtype::Index => ("class numbers", "floats like the model's input"),
            };
            return Err(Error::argument(&self.name, got, expected));
        }
        match feed.lengths {
            Some(_) if self.axes.len() < 2 => {
                let name = format!("lengths of {}", self.name);
                Err(Error::argument(name, "given", "none, as it has no time"))
            }
            Some(lengths) => check_lengths(lengths, shape[0], shape[1]),
            None => Ok(()),
        }
    }
}
