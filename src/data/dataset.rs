//! Sources of batches.

use super::{Batch, Values};
use crate::error::{Error, Result, check_positive, require};
use crate::graph::Dtype;
use crate::nn::check_lengths;
use ndarray::{Array1, Array2, Array3, Axis, s};

/// Examples by number, put into batches on demand.
pub trait Dataset: Sync {
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
    target: Values,
    lengths: Option<Vec<usize>>,
    /// Where the sequences are in the targets.
    axis: Axis,
}

impl Sequences {
    fn new(x: Array3<f32>, target: impl Into<Values>, every_step: bool) -> Result<Self> {
        let (target, (steps, sequences, _)) = (target.into(), x.dim());
        let all = [steps, sequences];
        let expected = if every_step { &all[..] } else { &all[1..] };
        if !target.shape().starts_with(expected) {
            let numbers = expected.iter().map(usize::to_string);
            let features = (target.dtype() == Dtype::Float).then(|| "O".to_owned());
            let all: Vec<_> = numbers.chain(features).collect();
            let expected = format!("[{}], as x", all.join(", "));
            return Err(Error::shape("target", target.shape(), expected));
        }
        Ok(Self {
            x,
            target,
            lengths: None,
            axis: Axis(usize::from(every_step)),
        })
    }

    /// Sets the steps of each sequence, `[N]`, as [`pad`](super::pad) gives them.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is not one for each sequence, [`Error::Argument`] for one above T.
    pub fn with_lengths(mut self, lengths: Vec<usize>) -> Result<Self> {
        let (steps, sequences, _) = self.x.dim();
        check_lengths(&lengths, steps, sequences)?;
        self.lengths = Some(lengths);
        Ok(self)
    }

    /// One target a sequence. x: `[T, N, F]`; target: `[N, O]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of sequences differ.
    pub fn many_to_one(x: Array3<f32>, target: Array2<f32>) -> Result<Self> {
        Self::new(x, target, false)
    }

    /// A target at every step. x: `[T, N, F]`; target: `[T, N, O]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of steps or sequences differ.
    pub fn many_to_many(x: Array3<f32>, target: Array3<f32>) -> Result<Self> {
        Self::new(x, target, true)
    }

    /// One class a sequence. x: `[T, N, F]`; classes: `[N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of sequences differ.
    pub fn classes(x: Array3<f32>, classes: Array1<u32>) -> Result<Self> {
        Self::new(x, classes, false)
    }

    /// A class at every step. x: `[T, N, F]`; classes: `[T, N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the numbers of steps or sequences differ.
    pub fn classes_of_steps(x: Array3<f32>, classes: Array2<u32>) -> Result<Self> {
        Self::new(x, classes, true)
    }
}

impl Dataset for Sequences {
    fn len(&self) -> usize {
        self.x.len_of(Axis(1))
    }

    fn batch(&self, examples: &[usize]) -> Batch {
        let x = self.x.select(Axis(1), examples);
        let batch = Batch::new(x, self.target.select(self.axis, examples));
        match &self.lengths {
            Some(all) => batch.with_lengths(examples.iter().map(|one| all[*one]).collect()),
            None => batch,
        }
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
        let rows = x.nrows();
        if rows != target.nrows() {
            let expected = format!("[{rows}, O], as x");
            return Err(Error::shape("target", target.shape(), expected));
        }
        let expected = format!("more than the window of {window}");
        require("rows", rows, rows > window, expected)?;
        Ok(Self {
            x,
            target,
            window,
            every_step: false,
        })
    }

    /// A target at every step: the row after it.
    pub fn every_step(mut self) -> Self {
        self.every_step = true;
        self
    }
}

impl Dataset for Windows {
    fn len(&self) -> usize {
        self.x.nrows() - self.window
    }

    fn batch(&self, examples: &[usize]) -> Batch {
        let windows = |of: &Array2<f32>, by: usize| {
            let mut windows = Array3::zeros((self.window, examples.len(), of.ncols()));
            for (mut to, first) in windows.axis_iter_mut(Axis(1)).zip(examples) {
                to.assign(&of.slice(s![first + by..first + by + self.window, ..]));
            }
            windows
        };
        let x = windows(&self.x, 0);
        if self.every_step {
            return Batch::new(x, windows(&self.target, 1));
        }
        let after: Vec<_> = examples.iter().map(|first| first + self.window).collect();
        Batch::new(x, self.target.select(Axis(0), &after))
    }
}
