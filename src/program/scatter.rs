//! Rows added up by their index.

use super::cost::when;
use super::operands::{Access, Check, Operands};
use super::{Cost, Matrix, Slice};

/// output\[v\] = Σ over the n with indices\[n\] = v of input\[n\], in the order of n (+ output\[v\]): the gradient of a table's rows.
#[derive(Clone, Debug)]
pub struct Scatter {
    /// `[N, E]`
    pub input: Matrix,
    /// `[N]`, whole numbers; those past V are left out.
    pub indices: Slice,
    /// `[V, E]`, out.
    pub output: Matrix,
    /// Whether the sums are added to the output instead of replacing it.
    pub accumulate: bool,
}

impl Scatter {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let (rows, columns) = (self.input.rows, self.output.columns);
        o.matrix(Access::Read, "input", self.input, [rows, columns])?;
        o.read("indices", self.indices, rows)?;
        let shape = [self.output.rows, columns];
        o.matrix(Access::Write, "output", self.output, shape)
    }

    pub(super) fn cost(&self) -> Cost {
        let [input, output] =
            [self.input, self.output].map(|of| of.rows as f64 * of.columns as f64);
        let read = input + self.indices.len as f64 + when(self.accumulate, output);
        Cost::new(input, read, output)
    }
}
