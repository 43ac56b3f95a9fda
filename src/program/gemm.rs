//! Matrix products.

use super::cost::{optional, when};
use super::operands::{Check, Operands};
use super::{Cost, Matrix, Slice};

/// c = op(a) · op(b) (+ bias in every row) (+ c), op being the transposition where asked for. Not both may be transposed.
#[derive(Clone, Debug)]
pub struct Gemm {
    /// `[M, K]`, or `[K, M]` where transposed.
    pub a: Matrix,
    /// Whether a is read transposed.
    pub transpose_a: bool,
    /// `[K, N]`, or `[N, K]` where transposed.
    pub b: Matrix,
    /// Whether b is read transposed.
    pub transpose_b: bool,
    /// `[N]`
    pub bias: Option<Slice>,
    /// `[M, N]`
    pub c: Matrix,
    /// Whether the product is added to c instead of replacing it.
    pub accumulate: bool,
    /// Whether b holds weights, which a device may be told to read in f16 ([`Precision`](crate::Precision)).
    pub weights: bool,
}

impl Gemm {
    /// c = a · b
    pub fn new(a: Matrix, b: Matrix, c: Matrix) -> Self {
        Self {
            a,
            transpose_a: false,
            b,
            transpose_b: false,
            bias: None,
            c,
            accumulate: false,
            weights: false,
        }
    }
    /// Reads a transposed.
    #[must_use]
    pub fn transpose_a(self) -> Self {
        Self {
            transpose_a: true,
            ..self
        }
    }
    /// Reads b transposed.
    #[must_use]
    pub fn transpose_b(self) -> Self {
        Self {
            transpose_b: true,
            ..self
        }
    }
    /// Adds a bias `[N]` to every row.
    #[must_use]
    pub fn bias(self, bias: Option<Slice>) -> Self {
        Self { bias, ..self }
    }
    /// Adds to c.
    #[must_use]
    pub fn accumulate(self, accumulate: bool) -> Self {
        Self { accumulate, ..self }
    }
    /// Says that b holds weights.
    #[must_use]
    pub fn weights(self) -> Self {
        Self {
            weights: true,
            ..self
        }
    }
    /// M, N and K.
    pub fn dimensions(&self) -> (usize, usize, usize) {
        let k = if self.transpose_a {
            self.a.rows
        } else {
            self.a.columns
        };
        (self.c.rows, self.c.columns, k)
    }

    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let (m, n, _) = self.dimensions();
        self.check_inputs(o)?;
        o.write_matrix("c", self.c, m, n)
    }

    /// What is read fits.
    pub(super) fn check_inputs(&self, o: &mut Operands<'_>) -> Check {
        let (m, n, k) = self.dimensions();
        let (a_rows, a_columns) = if self.transpose_a { (k, m) } else { (m, k) };
        let (b_rows, b_columns) = if self.transpose_b { (n, k) } else { (k, n) };
        o.read_matrix("a", self.a, a_rows, a_columns)?;
        o.read_matrix("b", self.b, b_rows, b_columns)?;
        o.read_optional("bias", self.bias, n)
    }

    pub(super) fn cost(&self) -> Cost {
        let (m, n, k) = self.dimensions();
        let (m, n, k) = (m as f64, n as f64, k as f64);
        let added = when(self.bias.is_some(), m * n) + when(self.accumulate, m * n);
        let read = m * k + k * n + optional(self.bias) + when(self.accumulate, m * n);
        Cost::new(2.0 * m * n * k + added, read, m * n)
    }
}
