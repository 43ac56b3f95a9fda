//! What a run is fed, and the signatures that programs are compiled for.

use super::Input;
use crate::data::Values;
use crate::device::Device;
use crate::error::Result;
use crate::graph::Dtype;
use crate::tensor::Tensor;

/// What one input is this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
    pub(crate) has_lengths: bool,
    /// Whether the sequence has lengths and lies on the device, so that the graph has to leave out what is past them.
    pub(crate) is_unclean: bool,
}

impl Signature {
    /// Floats without lengths.
    pub(crate) fn float(shape: impl Into<Vec<usize>>) -> Self {
        Self {
            shape: shape.into(),
            dtype: Dtype::Float,
            has_lengths: false,
            is_unclean: false,
        }
    }
}

/// What is fed to one input: an array, a tensor or a part of one, and the steps of each row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) lengths: Option<&'a [usize]>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Array(&'a Values),
    /// Elements of a tensor, from this one on.
    Tensor(&'a Tensor, usize),
}

impl<'a> From<&'a Values> for Feed<'a> {
    fn from(values: &'a Values) -> Self {
        match values {
            Values::Tensor(tensor) => Self::part(tensor, 0),
            array => Self {
                source: Source::Array(array),
                lengths: None,
            },
        }
    }
}

impl<'a> From<Input<'a>> for Feed<'a> {
    fn from(input: Input<'a>) -> Self {
        Self {
            lengths: input.lengths,
            ..Self::part(input.x, 0)
        }
    }
}

impl<'a> Feed<'a> {
    /// A tensor from an element on.
    pub(crate) fn part(tensor: &'a Tensor, first: usize) -> Self {
        Self {
            source: Source::Tensor(tensor, first),
            lengths: None,
        }
    }

    /// The shape of what is fed, and whether it is floats.
    pub(crate) fn ty(&self) -> (&'a [usize], Dtype) {
        match self.source {
            Source::Array(values) => (values.shape(), values.dtype()),
            Source::Tensor(tensor, _) => (tensor.shape(), tensor.dtype()),
        }
    }

    /// `Ok` where the device can take it.
    pub(crate) fn check_device(&self, argument: &str, device: &Device) -> Result<()> {
        match self.source {
            Source::Array(values) => values.check_device(argument, device),
            Source::Tensor(tensor, _) => tensor.check_device(argument, device),
        }
    }

    pub(crate) fn signature(&self) -> Signature {
        let (shape, dtype) = self.ty();
        Signature {
            shape: shape.to_vec(),
            dtype,
            has_lengths: self.lengths.is_some(),
            is_unclean: false,
        }
    }
}

/// The signatures of all inputs.
pub(crate) fn signatures(feeds: &[Feed<'_>]) -> Vec<Signature> {
    let ragged = feeds.iter().any(|feed| feed.lengths.is_some());
    let signature = |feed: &Feed<'_>| Signature {
        is_unclean: ragged && matches!(feed.source, Source::Tensor(..)),
        ..feed.signature()
    };
    feeds.iter().map(signature).collect()
}
