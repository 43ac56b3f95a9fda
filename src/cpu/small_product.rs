//! Products of small matrices, where the preparations of a large one would take longer than the product.

use pulp::{Arch, Simd, WithSimd};

/// Multiply-adds of the largest product that counts as small.
pub(super) const MOST: usize = 1 << 14;

/// Rows that are computed together, as the next addition to one sum has to wait for the last.
const ROWS: usize = 4;

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
    /// `[K, N]`
    pub(super) b: Strided<&'a [f32]>,
    /// `[M, N]`
    pub(super) c: Strided<&'a mut [f32]>,
    pub(super) accumulate: bool,
}

impl SmallProduct<'_> {
    /// Computes it.
    pub(super) fn run(self) {
        let [m, n, k] = self.sizes;
        let rows_of_b = self.b.strides[1] == 1;
        let columns_of_a = self.a.strides[0] == 1;
        let turned = columns_of_a && (m > n || !rows_of_b);
        let product = if turned {
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
    fn with_simd<S: Simd>(self, simd: S) {
        let [m, n, k] = self.sizes;
        let lanes = S::F32_LANES;
        let neighbours = self.b.strides[1] == 1;
        let mut values = [0.0; 64];
        for first in (0..n).step_by(lanes) {
            let width = lanes.min(n - first);
            for row in (0..m).step_by(ROWS) {
                // Past the last row that one again, for a fixed number of sums in registers.
                let rows: [usize; ROWS] = std::array::from_fn(|index| (row + index).min(m - 1));
                let mut sums = [simd.splat_f32s(0.0); ROWS];
                for place in 0..k {
                    let at = place * self.b.strides[0] + first * self.b.strides[1];
                    let b = if neighbours {
                        simd.partial_load_f32s(&self.b.elements[at..at + width])
                    } else {
                        for (lane, value) in values[..width].iter_mut().enumerate() {
                            *value = self.b.elements[at + lane * self.b.strides[1]];
                        }
                        simd.partial_load_f32s(&values[..width])
                    };
                    for (sum, row) in sums.iter_mut().zip(rows) {
                        let a = row * self.a.strides[0] + place * self.a.strides[1];
                        let a = simd.splat_f32s(self.a.elements[a]);
                        *sum = simd.mul_add_e_f32s(a, b, *sum);
                    }
                }
                for (sum, row) in sums.into_iter().zip(rows).take(m - row) {
                    simd.partial_store_f32s(&mut values[..width], sum);
                    let at = row * self.c.strides[0] + first * self.c.strides[1];
                    for (lane, value) in values[..width].iter().enumerate() {
                        let to = &mut self.c.elements[at + lane * self.c.strides[1]];
                        *to = if self.accumulate { *to + value } else { *value };
                    }
                }
            }
        }
    }
}
