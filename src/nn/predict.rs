//! What a model gives, as arrays: all at once, or some rows after the others.

use super::model::Model;
use crate::Real;
use crate::data::{Sequence, Values};
use crate::elements::zeros_array;
use crate::error::{Error, Result, check_positive};
use crate::waiting::Breaths;
use ndarray::{ArrayD, ArrayRef, Axis, Ix3, Slice};

impl Model {
    /// Runs the model on an array and reads the result. Errors as [`Model::forward`].
    pub async fn predict_async<F: Real>(&self, x: &ArrayRef<F, Ix3>) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        self.predict_all_async(&[Sequence::new(x)]).await
    }

    /// Runs the model on sequences of different lengths and reads the result. x: `[T, B, F]`; lengths: `[B]`, as
    /// [`Input::with_lengths`](super::Input::with_lengths) takes them. Errors as [`Model::forward`].
    pub async fn predict_ragged_async<F: Real>(
        &self,
        x: &ArrayRef<F, Ix3>,
        lengths: &[usize],
    ) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        let x = Sequence::new(x).with_lengths(lengths.to_vec());
        self.predict_all_async(&[x]).await
    }

    /// Runs the model on all its inputs and reads the result. Arrays of more rows than the device has room for go through it in as few batches as fit.
    /// Errors as [`Model::forward`].
    pub async fn predict_all_async<F: Real>(&self, inputs: &[Sequence]) -> Result<ArrayD<F>> {
        self.predict_rows(inputs, usize::MAX).await
    }

    /// Runs the model on arrays in batches of at most `batch_size` rows, and reads the result of all. Each row gives what it gives alone, unless a layer of
    /// your own makes rows depend on each other.
    ///
    /// # Errors
    /// As [`Model::forward`]; [`Error::Argument`] for a batch size of 0, or where the inputs or the output cannot be cut into rows.
    pub async fn predict_in_batches_async<F: Real>(
        &self,
        inputs: &[Sequence],
        batch_size: usize,
    ) -> Result<ArrayD<F>> {
        check_positive("batch_size", batch_size)?;
        self.predict_rows(inputs, batch_size).await
    }

    /// At most so many rows at once, and as many as there is room for.
    async fn predict_rows<F: Real>(&self, inputs: &[Sequence], most: usize) -> Result<ArrayD<F>> {
        let feeds: Vec<_> = inputs.iter().map(Sequence::feed).collect();
        self.check(&feeds)?;
        let rows = self.rows(&feeds);
        let mut at_once = most.min(rows);
        if at_once == rows {
            match self.forward_all(inputs) {
                Err(error) if is_too_much(&error) && rows > 1 && is_cut(inputs).is_ok() => {
                    at_once = rows.div_ceil(2);
                }
                y => return y?.to_array_async().await,
            }
        }
        is_cut(inputs)?;
        let (axis, shape) = self.rows_of_output(inputs, rows)?;
        let mut all = zeros_array("the output", shape)?;
        let mut first = 0;
        let mut breaths = Breaths::new();
        while first < rows {
            let some = first..rows.min(first + at_once);
            let part = inputs.iter().zip(&self.inputs);
            let part = part.map(|(of, spec)| of.rows(Axis(spec.batch_axis()), some.clone()));
            match self.forward_all(&part.collect::<Vec<_>>()) {
                Err(error) if is_too_much(&error) && at_once > 1 => at_once = at_once.div_ceil(2),
                y => {
                    let place = Slice::from(some.clone());
                    let mut place = all.slice_axis_mut(Axis(axis), place);
                    place.assign(&y?.to_array_async().await?);
                    first = some.end;
                }
            }
            self.device().breathe(&mut breaths).await?;
        }
        Ok(all)
    }

    /// The axis of the output along which rows are, and the shape of the output.
    fn rows_of_output(&self, inputs: &[Sequence], rows: usize) -> Result<(usize, Vec<usize>)> {
        let shape = |rows: usize| {
            let with_rows = inputs.iter().zip(&self.inputs).map(|(of, spec)| {
                let mut shape = of.values.shape().to_vec();
                shape[spec.batch_axis()] = rows;
                shape
            });
            let shapes: Vec<_> = with_rows.collect();
            self.output_shape(&shapes.iter().map(|shape| &shape[..]).collect::<Vec<_>>())
        };
        let (own, more) = (shape(rows)?, shape(rows + 1)?);
        let mut grown = own.clone();
        let axis = own.iter().zip(&more).position(|(own, more)| own != more);
        if let Some(axis) = axis.filter(|axis| own[*axis] == rows) {
            grown[axis] += 1;
        }
        match axis {
            Some(axis) if grown == more => Ok((axis, own)),
            _ => {
                let got = format!("{own:?} for {rows} rows, {more:?} for one more");
                let expected = "one axis of rows, where they go through in batches";
                Err(Error::argument("the model's output", got, expected))
            }
        }
    }
}

/// Whether fewer rows may help.
fn is_too_much(error: &Error) -> bool {
    matches!(error, Error::Limit { .. } | Error::OutOfMemory { .. })
}

/// `Ok` where inputs are arrays.
fn is_cut(inputs: &[Sequence]) -> Result<()> {
    let is_tensor = |input: &Sequence| matches!(input.values, Values::Tensor(_));
    match inputs.iter().position(is_tensor) {
        Some(index) => {
            let expected = "an array, where rows go through in batches";
            Err(Error::argument(
                format!("inputs[{index}]"),
                "a tensor",
                expected,
            ))
        }
        None => Ok(()),
    }
}

/// Blocking twins.
#[cfg(not(target_arch = "wasm32"))]
impl Model {
    /// Blocking [`Model::predict_async`], with its errors.
    pub fn predict<F: Real>(&self, x: &ArrayRef<F, Ix3>) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        crate::waiting::block_on(self.predict_async(x))
    }

    /// Blocking [`Model::predict_ragged_async`], with its errors.
    pub fn predict_ragged<F: Real>(
        &self,
        x: &ArrayRef<F, Ix3>,
        lengths: &[usize],
    ) -> Result<ArrayD<F>>
    where
        Values: for<'a> From<&'a ArrayRef<F, Ix3>>,
    {
        crate::waiting::block_on(self.predict_ragged_async(x, lengths))
    }

    /// Blocking [`Model::predict_all_async`], with its errors.
    pub fn predict_all<F: Real>(&self, inputs: &[Sequence]) -> Result<ArrayD<F>> {
        crate::waiting::block_on(self.predict_all_async(inputs))
    }

    /// Blocking [`Model::predict_in_batches_async`], with its errors.
    pub fn predict_in_batches<F: Real>(
        &self,
        inputs: &[Sequence],
        batch_size: usize,
    ) -> Result<ArrayD<F>> {
        crate::waiting::block_on(self.predict_in_batches_async(inputs, batch_size))
    }
}
