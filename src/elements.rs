//! What a tensor may have: so many elements, so much memory, numbers in range.

use crate::Real;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::program::{MOST_ELEMENTS, counted, product};
use ndarray::{Array, ArrayRef, Dimension, IntoDimension};

/// The elements of a shape, where a tensor may have so many.
pub(crate) fn count_elements(name: &str, shape: &[usize]) -> Result<usize> {
    counted(shape).ok_or_else(|| Error::Limit {
        what: format!("{name} {shape:?}"),
        needed: product(shape) as u64,
        limit: "number of elements of a tensor",
        available: MOST_ELEMENTS as u64,
    })
}

/// Numbers in the host's memory, all zeros.
pub(crate) fn zeros<F: Real>(name: &str, shape: &[usize], len: usize) -> Result<Vec<F>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| Error::OutOfMemory {
        what: format!("{name} {shape:?}"),
        reason: format!(
            "the host has no {} bytes left",
            len.saturating_mul(size_of::<F>())
        ),
    })
}

/// An array in the host's memory, all zeros.
pub(crate) fn zeros_array<F: Real, D: Dimension>(
    name: &str,
    shape: impl IntoDimension<Dim = D>,
) -> Result<Array<F, D>> {
    let shape = shape.into_dimension();
    let zeros = zeros(name, shape.slice(), count_elements(name, shape.slice())?)?;
    Ok(Array::from_shape_vec(shape, zeros).expect("as many as the shape has"))
}

/// `Ok` where a device has numbers for all of an array: none that is finite would become infinite.
pub(crate) fn check_range<F: Real, D: Dimension>(
    name: &str,
    array: &ArrayRef<F, D>,
    device: &Device,
) -> Result<()> {
    if size_of::<F>() <= device.element_size() {
        return Ok(());
    }
    let lost = |x: &&F| x.is_finite() && !(x.to_double() as f32).is_finite();
    match array.iter().find(lost) {
        Some(value) => {
            let expected = format!("within ±{:e}, as {device} computes in f32", f32::MAX);
            let got = format!("{:e}", value.to_double());
            Err(Error::argument(name, got, expected))
        }
        None => Ok(()),
    }
}
