//! Windows of the scaled series as batches, and what the network makes of them.

use crate::series::Scale;
use bptt::data::{Batch, Dataset};
use bptt::nn::Model;
use ndarray::{Array2, Array3};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::sync::Mutex;

/// How far, in logarithms, a training window's amplitude is changed at random.
const AMPLIFICATION: f32 = 0.3;

/// Windows of a series; the target is the change from a window's last value to the next.
pub struct SeriesWindows<'a> {
    values: &'a [f32],
    window: usize,
    amplify: Option<(f32, Mutex<ChaCha8Rng>)>,
}

impl<'a> SeriesWindows<'a> {
    pub fn new(values: &'a [f32], window: usize) -> Self {
        Self {
            values,
            window,
            amplify: None,
        }
    }

    /// Multiplies each window and its target by a random factor, measured from zero, each time it is taken: the cycles to be
    /// forecast may be larger than any seen in training.
    pub fn amplified(self, scale: &Scale, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0xa3_b1);
        Self {
            amplify: Some((scale.zero(), Mutex::new(rng))),
            ..self
        }
    }
}

impl Dataset for SeriesWindows<'_> {
    fn len(&self) -> usize {
        self.values.len().saturating_sub(self.window)
    }

    fn batch(&self, examples: &[usize]) -> Batch {
        let mut x = Array3::zeros((self.window, examples.len(), 1));
        let mut target = Array2::zeros((examples.len(), 1));
        for (row, first) in examples.iter().enumerate() {
            let (zero, factor) = match &self.amplify {
                None => (0.0, 1.0),
                Some((zero, rng)) => {
                    let mut rng = rng.lock().expect("no draw panics");
                    let exponent: f32 = rng.random_range(-AMPLIFICATION..=AMPLIFICATION);
                    (*zero, exponent.exp())
                }
            };
            let window = &self.values[*first..=first + self.window];
            for t in 0..self.window {
                x[[t, row, 0]] = (window[t] - zero) * factor + zero;
            }
            target[[row, 0]] = (window[self.window] - window[self.window - 1]) * factor;
        }
        Batch::new(x, target)
    }
}

/// One-step forecasts, on the scale, of every value past the first window.
pub fn predict(model: &Model, values: &[f32], window: usize) -> bptt::Result<Vec<f32>> {
    let mut forecasts = vec![];
    let first: Vec<usize> = (0..values.len() - window).collect();
    for first in first.chunks(256) {
        let x = Array3::from_shape_fn((window, first.len(), 1), |(t, row, _)| {
            values[first[row] + t]
        });
        let changes = model.predict(&x)?;
        forecasts.extend(
            first
                .iter()
                .zip(&changes)
                .map(|(first, change)| values[first + window - 1] + change),
        );
    }
    Ok(forecasts)
}

/// Forecasts past the end, each made from those before it.
pub fn free_run(
    model: &Model,
    values: &[f32],
    window: usize,
    steps: usize,
) -> bptt::Result<Vec<f32>> {
    let mut values = values[values.len() - window..].to_vec();
    for _ in 0..steps {
        let last = &values[values.len() - window..];
        let x = Array3::from_shape_fn((window, 1, 1), |(t, _, _)| last[t]);
        let change = model.predict(&x)?[[0, 0]];
        values.push(last[window - 1] + change);
    }
    Ok(values.split_off(window))
}

/// The mean square of the errors.
pub fn variance(truth: &[f32], predicted: &[f32]) -> f32 {
    let error = |(t, p): (&f32, &f32)| f64::from(*t) - f64::from(*p);
    let squares: f64 = truth
        .iter()
        .zip(predicted)
        .map(|of| error(of).powi(2))
        .sum();
    (squares / truth.len() as f64) as f32
}
