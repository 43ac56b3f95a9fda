//! Sources of batches.

use super::Batch;
use crate::error::{Error, Result, check_positive};
use crate::nn::check_lengths;
use ndarray::{Array1, Array2, Array3, ArrayD, Axis, concatenate, s, stack};

/// Examples by number, put into batches on demand.
pub trait Dataset {
    /// The number of examples.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A batch of the examples of these numbers, each below [`Dataset::len`].
    fn batch(&self, examples: &[usize]) -> Batch;
}

/// Sequences with their targets, of one length or (padded, see [`pad`](super::pad)) of their own.
#[derive(Clone, Debug)]
pub struct Sequences {
    x: Array3<f32>,
    target: Targets,
    lengths: Option<Vec<usize>>,
    /// Where the sequences are in the targets.
    axis: Axis,
}

#[derive(Clone, Debug)]
enum Targets {
    Floats(ArrayD<f32>),
    Classes(ArrayD<u32>),
}

impl Sequences {
    fn new(x: Array3<f32>, target: Targets, every_step: bool) -> Result<Self> {
        let (steps, sequences, _) = x.dim();
        let (shape, features) = match &target {
            Targets::Floats(target) => (target.shape(), ", O"),
            Targets::Classes(target) => (target.shape(), ""),
        };
        let expected = if every_step {
            vec![steps, sequences]
        } else {
            vec![sequences]
        };
        if shape[..expected.len()] != expected {
            let numbers: Vec<String> = expected.iter().map(usize::to_string).collect();
            let expected = format!("[{}{features}], as x", numbers.join(", "));
            return Err(Error::shape("target", shape, expected));
        }
        let axis = Axis(usize::from(every_step));
        Ok(Self {
            x,
            target,
            lengths: None,
            axis,
        })
    }

    /// Sets the steps of each sequence, `[N]`, as [`pad`](super::pad) gives them.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is not one for each sequence, [`Error::Argument`] for one above T.
    pub fn with_lengths(self, lengths: Vec<usize>) -> Result<Self> {
        let (steps, sequences, _) = self.x.dim();
        check_lengths(&lengths, steps, sequences)?;
        Ok(Self {
            lengths: Some(lengths),
            ..self
        })
    }

    /// One target a sequence. x: `[T, N, F]`; target: `[N, O]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of sequences differ.
    pub fn many_to_one(x: Array3<f32>, target: Array2<f32>) -> Result<Self> {
        Self::new(x, Targets::Floats(target.into_dyn()), false)
    }

    /// A target at every step. x: `[T, N, F]`; target: `[T, N, O]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of steps or sequences differ.
    pub fn many_to_many(x: Array3<f32>, target: Array3<f32>) -> Result<Self> {
        Self::new(x, Targets::Floats(target.into_dyn()), true)
    }

    /// One class a sequence. x: `[T, N, F]`; classes: `[N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of sequences differ.
    pub fn classes(x: Array3<f32>, classes: Array1<u32>) -> Result<Self> {
        Self::new(x, Targets::Classes(classes.into_dyn()), false)
    }

    /// A class at every step. x: `[T, N, F]`; classes: `[T, N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of steps or sequences differ.
    pub fn classes_of_steps(x: Array3<f32>, classes: Array2<u32>) -> Result<Self> {
        Self::new(x, Targets::Classes(classes.into_dyn()), true)
    }
}

impl Dataset for Sequences {
    fn len(&self) -> usize {
        self.x.len_of(Axis(1))
    }

    fn batch(&self, examples: &[usize]) -> Batch {
        let x = self.x.select(Axis(1), examples);
        let batch = match &self.target {
            Targets::Floats(target) => Batch::new(x, target.select(self.axis, examples)),
            Targets::Classes(target) => Batch::new(x, target.select(self.axis, examples)),
        };
        let Some(all) = &self.lengths else {
            return batch;
        };
        batch.with_lengths(examples.iter().map(|example| all[*example]).collect())
    }
}

/// All windows of a series: `window` consecutive rows, and as target the rows that follow them.
///
/// Many-to-one, the target of rows i … i+window−1 is row i+window of the targets; many-to-many, each row's target is the one
/// after it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Windows {
    x: Array2<f32>,
    target: Array2<f32>,
    window: usize,
    every_step: bool,
}

impl Windows {
    /// Windows with one target each, the row after them. x: `[N, F]`, target: `[N, O]`, aligned in time.
    ///
    /// # Errors
    /// [`Error::Shape`] where the lengths differ; [`Error::Argument`] for a window of 0 or too few rows for one window.
    pub fn new(x: Array2<f32>, target: Array2<f32>, window: usize) -> Result<Self> {
        check_positive("window", window)?;
        if x.nrows() != target.nrows() {
            return Err(Error::shape(
                "target",
                target.shape(),
                format!("[{}, O], as x", x.nrows()),
            ));
        }
        if x.nrows() <= window {
            let expected = format!("more than the window of {window}");
            return Err(Error::argument("rows", x.nrows(), expected));
        }
        Ok(Self {
            x,
            target,
            window,
            every_step: false,
        })
    }

    /// A target at every step: the row after it.
    pub fn every_step(self) -> Self {
        Self {
            every_step: true,
            ..self
        }
    }
}

impl Dataset for Windows {
    fn len(&self) -> usize {
        self.x.nrows() - self.window
    }

    fn batch(&self, examples: &[usize]) -> Batch {
        let rows = |first: usize| first..first + self.window;
        let x: Vec<_> = examples
            .iter()
            .map(|first| self.x.slice(s![rows(*first), ..]))
            .collect();
        let x = stack(Axis(1), &x).expect("windows have one shape");
        if self.every_step {
            let target: Vec<_> = examples
                .iter()
                .map(|first| self.target.slice(s![rows(first + 1), ..]))
                .collect();
            return Batch::new(x, stack(Axis(1), &target).expect("windows have one shape"));
        }
        let target: Vec<_> = examples
            .iter()
            .map(|first| {
                self.target
                    .slice(s![first + self.window..=first + self.window, ..])
            })
            .collect();
        Batch::new(
            x,
            concatenate(Axis(0), &target).expect("rows have one length"),
        )
    }
}
