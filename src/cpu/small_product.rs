//! Products of small matrices, where the preparations of a large one would take longer than the product.

use pulp::{Arch, Simd, WithSimd};
use std::array;

/// Multiply-adds of the largest product that counts as small.
pub(super) const MOST: usize = 1 << 14;

/// Rows that are computed together, as the next addition to one sum has to wait for the last.
const ROWS: usize = 8;

/// A matrix: element (r, c) is at r · `strides[0]` + c · `strides[1]`.
#[derive(Clone, Copy)]
pub(super) struct Strided<E> {
    pub(super) elements: E,
    pub(super) strides: [usize; 2],
}

impl<E> Strided<E> {
    fn transposed(self) -> Self {
        let [rows, columns] = self.strides;
        Self {
            strides: [columns, rows],
            ..self
        }
    }
}

/// c = a · b, or c += a · b.
pub(super) struct SmallProduct<'a> {
    /// M, N and K.
    pub(super) sizes: [usize; 3],
    /// `[M, K]`
    pub(super) a: Strided<&'a [f32]>,
    /// `[K, N]`, its rows without gaps.
    pub(super) b: Strided<&'a [f32]>,
    /// `[M, N]`
    pub(super) c: Strided<&'a mut [f32]>,
    pub(super) accumulate: bool,
}

impl SmallProduct<'_> {
    /// Computes it.
    pub(super) fn run(self) {
        let [m, n, k] = self.sizes;
        let product = if self.a.strides[0] == 1 && m > n {
            // cᵀ = bᵀ · aᵀ
            SmallProduct {
                sizes: [n, m, k],
                a: self.b.transposed(),
                b: self.a.transposed(),
                c: self.c.transposed(),
                ..self
            }
        } else {
            self
        };
        Arch::new().dispatch(product);
    }
}

impl WithSimd for SmallProduct<'_> {
    type Output = ();
    /// Every element as the sum over k in order, a register of neighbours in a row of b at a time.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let [m, n, _] = self.sizes;
        for first in (0..n).step_by(S::F32_LANES) {
            let whole = m - m % ROWS;
            for row in (0..whole).step_by(ROWS) {
                self.rows::<S, ROWS>(simd, row, first);
            }
            for row in whole..m {
                self.rows::<S, 1>(simd, row, first);
            }
        }
    }
}

impl SmallProduct<'_> {
    /// Some rows of c from a column on, as many columns as a register has.
    #[inline(always)]
    fn rows<S: Simd, const COUNT: usize>(&mut self, simd: S, row: usize, first: usize) {
        let Self { a, b, .. } = *self;
        let [m, n, k] = self.sizes;
        let mut sums = [simd.splat_f32s(0.0); COUNT];
        let mut add = |a: [f32; COUNT], b: S::f32s| {
            for (sum, a) in sums.iter_mut().zip(a) {
                *sum = simd.mul_add_e_f32s(simd.splat_f32s(a), b, *sum);
            }
        };
        // What lies past the end of a row is computed with, but not stored.
        let rows_of_b = b.elements[first..].chunks(b.strides[0].max(n)).take(k);
        let rows_of_b = rows_of_b.enumerate().map(|(place, short)| {
            let at = first + place * b.strides[0];
            let mut padded = [0.0; 64];
            let row = b.elements.get(at..at + S::F32_LANES).unwrap_or_else(|| {
                padded[..short.len()].copy_from_slice(short);
                &padded
            });
            S::as_simd_f32s(row).0[0]
        });
        if a.strides[0] == 1 {
            let columns = a.elements[row..].chunks(a.strides[1].max(m));
            for (column, b) in columns.zip(rows_of_b) {
                add(array::from_fn(|index| column[index]), b);
            }
        } else {
            let rows: [&[f32]; COUNT] =
                array::from_fn(|index| &a.elements[(row + index) * a.strides[0]..][..k]);
            for (place, b) in rows_of_b.enumerate() {
                add(rows.map(|row| row[place]), b);
            }
        }
        let c = &mut self.c;
        for (row, sum) in (row..).zip(sums) {
            let at = row * c.strides[0] + first * c.strides[1];
            let to = c.elements[at..].iter_mut().step_by(c.strides[1]);
            let values: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&sum));
            for (to, value) in to.zip(values).take(n - first) {
                *to = if self.accumulate { *to + value } else { *value };
            }
        }
    }
}
