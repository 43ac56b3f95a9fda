//! Numbers on their way to a device.

use crate::error::{Error, Result};
use crate::executable::Copy;
use crate::tensor::Tensor;
use ndarray::{ArrayD, ArrayRef, Dimension};

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

    /// `Ok` where the values are not class numbers.
    pub(crate) fn check_floats(&self, argument: &str) -> Result<()> {
        match self {
            Self::Classes(_) => Err(Error::argument(
                argument,
                "class numbers",
                "floats like the model's output",
            )),
            _ => Ok(()),
        }
    }

    /// Writes the values into a tensor of their shape; where they are on the device already, gives the copy to be made with the
    /// next run.
    pub(crate) fn load<'a>(&'a self, tensor: &'a Tensor) -> Result<Option<Copy<'a>>> {
        match self {
            Self::F32(values) => tensor.write(values)?,
            Self::F64(values) => tensor.write(values)?,
            // Exact: classes are checked to be fewer than 2²⁴ where the loss is built.
            Self::Classes(values) => tensor.write(&values.mapv(|class| class as f32))?,
            Self::Tensor(values) => {
                return Ok(Some(Copy {
                    from: (values, 0),
                    to: (tensor, 0),
                    len: values.len(),
                }));
            }
        }
        Ok(None)
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
