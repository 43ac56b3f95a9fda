//! Operations of a user's own.

use super::Memory;
use crate::program::Custom;
use crate::rows::RowScalar;
use ndarray::{ArrayViewD, ArrayViewMutD};

const CHECKED: &str = "the program was checked";

/// Calls the operation's function.
pub(super) fn custom<F: RowScalar>(op: &Custom, memory: &Memory<'_, F>) {
    let read: Vec<_> = op
        .inputs
        .iter()
        .map(|(slice, _)| memory.read(*slice))
        .collect();
    let mut written: Vec<_> = op
        .outputs
        .iter()
        .map(|(slice, _)| memory.write(*slice))
        .collect();
    let inputs: Vec<_> = (read.iter().zip(&op.inputs))
        .map(|(values, (_, shape))| ArrayViewD::from_shape(&shape[..], values).expect(CHECKED))
        .collect();
    let mut outputs: Vec<_> = (written.iter_mut().zip(&op.outputs))
        .map(|(values, (_, shape))| ArrayViewMutD::from_shape(&shape[..], values).expect(CHECKED))
        .collect();
    op.operation.run(&inputs, &mut outputs);
}
