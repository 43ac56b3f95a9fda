//! What is minimised.

use crate::data::Values;
use crate::error::{Error, Result, check_shape};
use crate::nn::Value;
use crate::program::{self, Program, Slice};

/// How the elements' squared errors become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean, PyTorch's default.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Half their sum, whose gradient is the plain difference: textbooks' form.
    HalfSum,
}

/// Squared error Σ (prediction − target)², reduced (PyTorch's `nn.MSELoss`). Targets are like the model's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mse {
    /// Default: mean.
    pub reduction: Reduction,
}

impl Mse {
    /// The mean of the squares.
    pub fn mean() -> Self {
        Self {
            reduction: Reduction::Mean,
        }
    }
    /// The sum of the squares.
    pub fn sum() -> Self {
        Self {
            reduction: Reduction::Sum,
        }
    }
    /// Half the sum of the squares.
    pub fn half_sum() -> Self {
        Self {
            reduction: Reduction::HalfSum,
        }
    }
}

/// Mean of −log softmax(output)\[class\] over all rows (PyTorch's `nn.CrossEntropyLoss`). The model gives logits; targets are
/// class numbers (u32), of the output's shape without the last dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoftmaxCrossEntropy;

/// A loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Squared error.
    Mse(Mse),
    /// Cross-entropy of softmax and classes.
    SoftmaxCrossEntropy(SoftmaxCrossEntropy),
}

impl Default for Loss {
    fn default() -> Self {
        Self::Mse(Mse::mean())
    }
}

impl From<Mse> for Loss {
    fn from(loss: Mse) -> Self {
        Self::Mse(loss)
    }
}

impl From<SoftmaxCrossEntropy> for Loss {
    fn from(loss: SoftmaxCrossEntropy) -> Self {
        Self::SoftmaxCrossEntropy(loss)
    }
}

/// Class numbers are carried as f32, exact to here.
const MOST_CLASSES: usize = 1 << 24;

impl Loss {
    /// The shape of the targets for an output.
    pub(crate) fn target_shape<'a>(&self, output: &'a [usize]) -> &'a [usize] {
        match self {
            Self::Mse(_) => output,
            Self::SoftmaxCrossEntropy(_) => &output[..output.len() - 1],
        }
    }

    /// `Ok` where the targets fit an output. Those of every step are not looked at past their sequences' lengths.
    pub(crate) fn check(
        &self,
        target: &Values,
        output: &[usize],
        lengths: Option<&[usize]>,
    ) -> Result<()> {
        check_shape("target", target.shape(), self.target_shape(output))?;
        match self {
            Self::Mse(_) => target.check_floats("target"),
            Self::SoftmaxCrossEntropy(_) => {
                let classes = *output.last().expect("outputs have features");
                if classes > MOST_CLASSES {
                    return Err(Error::argument(
                        "classes",
                        classes,
                        format!("at most {MOST_CLASSES}"),
                    ));
                }
                let lengths = lengths.filter(|_| output.len() == 3);
                let counts = |index: usize| match lengths {
                    Some(lengths) => index / output[1] < lengths[index % output[1]],
                    None => true,
                };
                target.check_classes("target", classes, counts)
            }
        }
    }

    /// What each row of an output `[T, B, O]` counts, `[T·B]`, where sequences have lengths: nothing past its sequence's end.
    pub(crate) fn row_weights(&self, output: &[usize], lengths: &[usize]) -> Vec<f64> {
        let valid = lengths.iter().sum::<usize>().max(1) as f64;
        let weight = match self {
            Self::Mse(Mse {
                reduction: Reduction::Mean,
            }) => 1.0 / (valid * output[2] as f64),
            Self::Mse(_) => 1.0,
            Self::SoftmaxCrossEntropy(_) => 1.0 / valid,
        };
        let row = |t: usize| {
            let weight = move |length: &usize| if t < *length { weight } else { 0.0 };
            lengths.iter().map(weight)
        };
        (0..output[0]).flat_map(row).collect()
    }

    /// Writes the loss, added to `loss` times the number of examples, and the output's gradient where that is wanted.
    pub(crate) fn emit(
        &self,
        program: &mut Program,
        output: &Value,
        target: Slice,
        loss: Slice,
        examples: usize,
        row_weights: Option<Slice>,
    ) {
        let loss_weight = examples as f64;
        match self {
            Self::Mse(Mse { reduction }) => program.push(program::Mse {
                prediction: output.slice,
                target,
                scale: match reduction {
                    // The rows' weights hold the mean's divisor, as it depends on the lengths.
                    Reduction::Mean if row_weights.is_some() => 1.0,
                    Reduction::Mean => 1.0 / output.slice.len as f64,
                    Reduction::Sum => 1.0,
                    Reduction::HalfSum => 0.5,
                },
                row_weights,
                loss_weight,
                loss,
                gradient: output.gradient,
            }),
            Self::SoftmaxCrossEntropy(_) => program.push(program::SoftmaxCrossEntropy {
                logits: output.matrix(),
                classes: target,
                row_weights,
                loss_weight,
                loss,
                gradient: output.gradient_matrix(),
            }),
        }
    }
}
