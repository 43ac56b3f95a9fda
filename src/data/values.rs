//! Numbers on their way to a device.

use crate::device::Device;
use crate::elements::check_range;
use crate::error::{Error, Result};
use crate::gpu::Words;
use crate::graph::Dtype;
use crate::program::product;
use crate::tensor::Tensor;
use ndarray::{ArrayD, ArrayRef, Axis, Dimension, Slice};
use std::ops::Range;

/// An array of floats, of class numbers, or a tensor that is on the device already.
#[derive(Clone, Debug)]
pub enum Values {
    /// Single precision.
    F32(ArrayD<f32>),
    /// Double precision; rounded where the device computes in single.
    F64(ArrayD<f64>),
    /// Class numbers, from 0.
    Classes(ArrayD<u32>),
    /// A tensor of the model's device.
    Tensor(Tensor),
}

impl Values {
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(values) => values.shape(),
            Self::F64(values) => values.shape(),
            Self::Classes(values) => values.shape(),
            Self::Tensor(values) => values.shape(),
        }
    }

    /// `Ok` where all numbers that count, by their index, are classes below `count`; numbers on a device are not looked at.
    pub(crate) fn check_classes(
        &self,
        argument: &str,
        count: usize,
        counts: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let expected = || format!("class numbers 0 to {} as u32", count - 1);
        match self {
            Self::Classes(values) => {
                let outside =
                    |(index, class): &(usize, &u32)| **class as usize >= count && counts(*index);
                match values.iter().enumerate().find(outside) {
                    Some((_, class)) => Err(Error::argument(argument, class, expected())),
                    None => Ok(()),
                }
            }
            Self::Tensor(_) => Ok(()),
            Self::F32(_) | Self::F64(_) => Err(Error::argument(argument, "floats", expected())),
        }
    }

    /// What the elements are.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) | Self::F64(_) => Dtype::Float,
            Self::Classes(_) => Dtype::Index,
            Self::Tensor(values) => values.dtype(),
        }
    }

    /// `Ok` where the values are no tensor of another device, and the device has numbers for them.
    pub(crate) fn check_device(&self, argument: &str, device: &Device) -> Result<()> {
        match self {
            Self::Tensor(tensor) => tensor.check_device(argument, device),
            Self::F64(values) => check_range(argument, values, device),
            _ => Ok(()),
        }
    }

    /// Writes an array into a CPU's tensor, from an element on; zeros past the lengths of a sequence `[T, B, …]`.
    pub(crate) fn write(
        &self,
        tensor: &Tensor,
        offset: usize,
        lengths: Option<&[usize]>,
    ) -> Result<()> {
        match self {
            Self::F32(values) => tensor.write_part(offset, values),
            Self::F64(values) => tensor.write_part(offset, values),
            Self::Classes(values) => match values.as_slice() {
                Some(values) => tensor.write_wholes(offset, values),
                None => tensor.write_wholes(offset, &values.iter().copied().collect::<Vec<_>>()),
            },
            Self::Tensor(_) => unreachable!("tensors are copied on their device"),
        }?;
        let past = runs(self.shape(), lengths).filter(|(_, is_valid)| !is_valid);
        tensor.clear(past.map(|(run, _)| run.start + offset..run.end + offset));
        Ok(())
    }

    /// Some places of an array's axis.
    pub(super) fn select(&self, axis: Axis, places: &[usize]) -> Self {
        match self {
            Self::F32(values) => Self::F32(values.select(axis, places)),
            Self::F64(values) => Self::F64(values.select(axis, places)),
            Self::Classes(values) => Self::Classes(values.select(axis, places)),
            Self::Tensor(_) => unreachable!("data sets have arrays"),
        }
    }

    /// Neighbouring places of an array's axis.
    pub(super) fn part(&self, axis: Axis, places: Range<usize>) -> Self {
        let places = Slice::from(places);
        match self {
            Self::F32(values) => Self::F32(values.slice_axis(axis, places).to_owned()),
            Self::F64(values) => Self::F64(values.slice_axis(axis, places).to_owned()),
            Self::Classes(values) => Self::Classes(values.slice_axis(axis, places).to_owned()),
            Self::Tensor(_) => unreachable!("only arrays are cut"),
        }
    }

    /// Puts an array into words as a GPU has them; zeros past the lengths of a sequence `[T, B, …]`.
    pub(crate) fn put(&self, to: &mut Words<'_>, lengths: Option<&[usize]>) {
        let runs = runs(self.shape(), lengths);
        match self {
            Self::F32(values) => match values.as_slice() {
                Some(values) => copy_runs(values, runs, to),
                None => put_runs(values.iter().map(|x| x.to_bits()), runs, to),
            },
            Self::F64(values) => {
                put_runs(values.iter().map(|x| (*x as f32).to_bits()), runs, to);
            }
            Self::Classes(values) => match values.as_slice() {
                Some(values) => copy_runs(values, runs, to),
                None => put_runs(values.iter().copied(), runs, to),
            },
            Self::Tensor(_) => unreachable!("tensors are copied on their device"),
        }
    }
}

/// Elements of a sequence, and whether they are within their rows' lengths.
type Run = (Range<usize>, bool);

/// The elements of a sequence `[T, B, …]` in order, in runs that are all within their rows' lengths or all past them.
fn runs(shape: &[usize], lengths: Option<&[usize]>) -> impl Iterator<Item = Run> {
    let lengths = lengths.unwrap_or_default();
    let [steps, batch] = match (lengths, shape) {
        ([_, ..], [steps, batch, ..]) => [*steps, *batch],
        _ => [0, 0],
    };
    let row = product(shape.get(2..).unwrap_or_default());
    // Steps that all rows have are one run.
    let common = lengths.iter().copied().min().unwrap_or(0).min(steps);
    let all = match steps {
        0 => product(shape),
        _ => common * batch * row,
    };
    let rest = (common..steps).flat_map(move |step| {
        let has_step = move |of: &usize| step < *of;
        let rows = lengths.chunk_by(move |a, b| has_step(a) == has_step(b));
        rows.scan(step * batch * row, move |at, rows| {
            let start = *at;
            *at += rows.len() * row;
            Some((start..*at, has_step(&rows[0])))
        })
    });
    std::iter::once((0..all, true)).chain(rest)
}

/// Puts what lies as it should, and zeros for what is past.
fn copy_runs<T: bytemuck::Pod>(values: &[T], runs: impl Iterator<Item = Run>, to: &mut Words<'_>) {
    for (run, is_valid) in runs {
        match is_valid {
            true => to.copy(&values[run]),
            false => to.zeros(run.len()),
        }
    }
}

/// Puts words, and zeros for those that are past.
fn put_runs(
    mut words: impl ExactSizeIterator<Item = u32>,
    runs: impl Iterator<Item = Run>,
    to: &mut Words<'_>,
) {
    for (run, is_valid) in runs {
        let words = words.by_ref().take(run.len());
        match is_valid {
            true => to.put(words),
            false => to.put(words.map(|_| 0)),
        }
    }
}

macro_rules! from_array {
    ($($scalar:ty => $variant:ident),*) => {
        $(impl<D: Dimension> From<&ArrayRef<$scalar, D>> for Values {
            fn from(values: &ArrayRef<$scalar, D>) -> Self {
                Self::$variant(values.to_owned().into_dyn())
            }
        }
        impl<D: Dimension> From<ndarray::Array<$scalar, D>> for Values {
            fn from(values: ndarray::Array<$scalar, D>) -> Self {
                Self::$variant(values.into_dyn())
            }
        }
        impl<D: Dimension> From<&ndarray::Array<$scalar, D>> for Values {
            fn from(values: &ndarray::Array<$scalar, D>) -> Self {
                Self::$variant(values.to_owned().into_dyn())
            }
        })*
    };
}
from_array!(f32 => F32, f64 => F64, u32 => Classes);

impl From<Tensor> for Values {
    fn from(values: Tensor) -> Self {
        Self::Tensor(values)
    }
}
