//! An operation of a user's own.

use super::operands::{Check, Operands, ensure};
use super::{Cost, Slice, product};
use crate::operation::OperationRef;

/// An [`Operation`](crate::Operation) of a user's own on tensors in row-major order.
#[derive(Clone, Debug)]
pub struct Custom {
    /// What it is.
    pub operation: OperationRef,
    /// What it reads, each with its shape.
    pub inputs: Vec<(Slice, Vec<usize>)>,
    /// What it writes, each in a tensor of its own, with its shape.
    pub outputs: Vec<(Slice, Vec<usize>)>,
}

impl Custom {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let shapes: Vec<&[usize]> = self.inputs.iter().map(|(_, shape)| &shape[..]).collect();
        let expected = self.operation.shapes(&shapes);
        let expected = expected.map_err(|error| error.to_string())?;
        let given: Vec<_> = self.outputs.iter().map(|(_, shape)| shape).collect();
        ensure(given.iter().copied().eq(&expected), || {
            format!("outputs are {given:?}, not {expected:?}")
        })?;
        for (slice, shape) in &self.inputs {
            o.read("input", *slice, product(shape))?;
        }
        for (slice, shape) in &self.outputs {
            o.write("output", *slice, product(shape))?;
        }
        Ok(())
    }

    /// What it computes is not known, only what it moves.
    pub(super) fn cost(&self) -> Cost {
        let elements =
            |of: &[(Slice, Vec<usize>)]| of.iter().map(|(slice, _)| slice.len as f64).sum();
        Cost::new(0.0, elements(&self.inputs), elements(&self.outputs))
    }
}
