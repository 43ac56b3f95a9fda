//! Sequences of different lengths in one array.

use crate::Real;
use crate::elements::zeros_array;
use crate::error::{Error, Result};
use crate::nn::check_lengths;
use ndarray::{Array2, Array3, ArrayRef, ArrayView2, Ix3, s};

/// Puts sequences `[T_b, F]` side by side, zeros after their ends (PyTorch's `pad_sequence`): x `[T, B, F]`, T being the longest's, and
/// their lengths, as [`Input::with_lengths`](crate::nn::Input::with_lengths) takes them.
///
/// ```
/// use ndarray::arr2;
/// let (x, lengths) = bptt::data::pad(&[arr2(&[[1.0_f32]]).view(), arr2(&[[2.0], [3.0]]).view()])?;
/// assert_eq!((x.shape(), &lengths[..]), (&[2, 2, 1][..], &[1, 2][..]));
/// # Ok::<(), bptt::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] for no sequence at all, [`Error::Shape`] where the numbers of features differ; [`Error::Limit`] and
/// [`Error::OutOfMemory`] where the host cannot hold x.
pub fn pad<F: Real>(sequences: &[ArrayView2<'_, F>]) -> Result<(Array3<F>, Vec<usize>)> {
    let Some(first) = sequences.first() else {
        return Err(Error::argument("sequences", "none", "at least one"));
    };
    let features = first.ncols();
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.nrows()).collect();
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let mut x = zeros_array("the padded sequences", (steps, sequences.len(), features))?;
    for (row, sequence) in sequences.iter().enumerate() {
        if sequence.ncols() != features {
            let name = format!("sequences[{row}]");
            let expected = format!("[T, {features}]");
            return Err(Error::shape(name, sequence.shape(), expected));
        }
        x.slice_mut(s![..sequence.nrows(), row, ..])
            .assign(sequence);
    }
    Ok((x, lengths))
}

/// The opposite of [`pad`]: the sequences `[T_b, F]` of x `[T, B, F]`.
///
/// # Errors
/// [`Error::Shape`] where there is not one length for each row, [`Error::Argument`] for a length above T.
pub fn unpad<F: Real>(x: &ArrayRef<F, Ix3>, lengths: &[usize]) -> Result<Vec<Array2<F>>> {
    let (steps, batch, _) = x.dim();
    check_lengths(lengths, steps, batch)?;
    let rows = lengths.iter().enumerate();
    let sequence = |(row, length): (usize, &usize)| x.slice(s![..*length, row, ..]).to_owned();
    Ok(rows.map(sequence).collect())
}
