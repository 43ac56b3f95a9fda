//! Matrix products.

use super::cost::{len, when};
use super::operands::{Access, Check, Operands};
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
    pub fn transpose_a(mut self) -> Self {
        self.transpose_a = true;
        self
    }

    /// Reads b transposed.
    #[must_use]
    pub fn transpose_b(mut self) -> Self {
        self.transpose_b = true;
        self
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
    pub fn weights(mut self) -> Self {
        self.weights = true;
        self
    }
    /// M, N and K.
    pub fn dimensions(&self) -> (usize, usize, usize) {
        let Matrix { rows, columns, .. } = self.a;
        let k = if self.transpose_a { rows } else { columns };
        (self.c.rows, self.c.columns, k)
    }

    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let (m, n, _) = self.dimensions();
        self.check_inputs(o)?;
        o.matrix(Access::Write, "c", self.c, [m, n])
    }

    /// What is read fits.
    pub(super) fn check_inputs(&self, o: &mut Operands<'_>) -> Check {
        let (m, n, k) = self.dimensions();
        let a = if self.transpose_a { [k, m] } else { [m, k] };
        let b = if self.transpose_b { [n, k] } else { [k, n] };
        o.matrix(Access::Read, "a", self.a, a)?;
        o.matrix(Access::Read, "b", self.b, b)?;
        o.read("bias", self.bias, n)
    }

    pub(super) fn cost(&self) -> Cost {
        let (m, n, k) = self.dimensions();
        let (m, n, k) = (m as f64, n as f64, k as f64);
        let before = when(self.accumulate, m * n);
        let added = when(self.bias.is_some(), m * n) + before;
        let read = m * k + k * n + len(self.bias) + before;
        Cost::new(2.0 * m * n * k + added, read, m * n)
    }
}
