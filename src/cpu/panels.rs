//! Products with a matrix that stays the same for many: packed once, then a tile of registers at a time.

use ndarray::{ArrayView2, ArrayViewMut2};
use pulp::{Arch, Simd, WithSimd};

/// A matrix `[K, N]` as panels of some vectors of columns, each panel `[K, width]`; the last is filled up with zeros.
pub struct Panels<F> {
    inputs: usize,
    /// Columns of all panels, those that fill up included.
    width: usize,
    values: Vec<F>,
}

/// What products need of a scalar type.
pub trait PanelScalar: Sized {
    fn pack(matrix: ArrayView2<'_, Self>) -> Panels<Self>;
    fn add_product(
        a: ArrayView2<'_, Self>,
        panels: &Panels<Self>,
        c: ArrayViewMut2<'_, Self>,
        packed: &mut Vec<Self>,
    );
}

impl<F: PanelScalar> Panels<F> {
    /// Packs a matrix `[K, N]` of any strides.
    pub(crate) fn new(matrix: ArrayView2<'_, F>) -> Self {
        F::pack(matrix)
    }

    /// The columns that the result of a product must have.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// c += a · matrix. a: `[M, K]`, c: `[M, width]`, rows without gaps; packed: room that the caller keeps from call to call.
    pub(crate) fn add_product(
        &self,
        a: ArrayView2<'_, F>,
        c: ArrayViewMut2<'_, F>,
        packed: &mut Vec<F>,
    ) {
        assert!(
            a.ncols() == self.inputs && c.dim() == (a.nrows(), self.width),
            "product of {:?} with {} inputs into {:?}",
            a.dim(),
            self.inputs,
            c.dim()
        );
        F::add_product(a, self, c, packed);
    }
}

/// Vectors in a full panel: with the rows of a tile, as many sums as the registers hold.
const fn full_panel(registers: usize) -> usize {
    if registers >= 32 { 4 } else { 2 }
}

/// Rows of the next tile: 6 make as many sums as the registers hold; the last few tiles share what is left evenly.
#[inline(always)]
fn tile_rows(left: usize) -> usize {
    left.div_ceil(left.div_ceil(6))
}

macro_rules! panels {
    ($scalar:ty, $module:ident, $vector:ident, $lanes:ident, $as_simd:ident, $as_mut_simd:ident, $splat:ident, $mul_add:ident, $add:ident) => {
        impl PanelScalar for $scalar {
            fn pack(matrix: ArrayView2<'_, Self>) -> Panels<Self> {
                Arch::new().dispatch($module::Pack(matrix))
            }
            fn add_product(
                a: ArrayView2<'_, Self>,
                panels: &Panels<Self>,
                c: ArrayViewMut2<'_, Self>,
                packed: &mut Vec<Self>,
            ) {
                Arch::new().dispatch($module::AddProduct {
                    a,
                    panels,
                    c,
                    packed,
                });
            }
        }

        mod $module {
            use super::*;

            pub(super) struct Pack<'a>(pub(super) ArrayView2<'a, $scalar>);

            impl WithSimd for Pack<'_> {
                type Output = Panels<$scalar>;

                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) -> Self::Output {
                    let (inputs, outputs) = self.0.dim();
                    let panel = full_panel(S::REGISTER_COUNT) * S::$lanes;
                    let width = outputs.next_multiple_of(S::$lanes);
                    let mut values = vec![0.0; inputs * width];
                    let mut first = 0;
                    while first < width {
                        let columns = panel.min(width - first);
                        let part = &mut values[inputs * first..inputs * (first + columns)];
                        for (row, part) in self
                            .0
                            .rows()
                            .into_iter()
                            .zip(part.chunks_exact_mut(columns))
                        {
                            for (column, value) in part.iter_mut().enumerate() {
                                if first + column < outputs {
                                    *value = row[first + column];
                                }
                            }
                        }
                        first += columns;
                    }
                    Panels {
                        inputs,
                        width,
                        values,
                    }
                }
            }

            pub(super) struct AddProduct<'a> {
                pub(super) a: ArrayView2<'a, $scalar>,
                pub(super) panels: &'a Panels<$scalar>,
                pub(super) c: ArrayViewMut2<'a, $scalar>,
                pub(super) packed: &'a mut Vec<$scalar>,
            }

            impl WithSimd for AddProduct<'_> {
                type Output = ();

                #[inline(always)]
                fn with_simd<S: Simd>(self, simd: S) {
                    let Self {
                        a,
                        panels,
                        mut c,
                        packed,
                    } = self;
                    pack_rows(a, packed);
                    let full = full_panel(S::REGISTER_COUNT);
                    let mut first = 0;
                    while first < panels.width {
                        let vectors = full.min((panels.width - first) / S::$lanes);
                        let columns = vectors * S::$lanes;
                        let part = &panels.values
                            [panels.inputs * first..panels.inputs * (first + columns)];
                        let (part, _) = S::$as_simd(part);
                        match vectors {
                            4 => rows::<S, 4>(simd, packed, part, &mut c, first),
                            3 => rows::<S, 3>(simd, packed, part, &mut c, first),
                            2 => rows::<S, 2>(simd, packed, part, &mut c, first),
                            _ => rows::<S, 1>(simd, packed, part, &mut c, first),
                        }
                        first += columns;
                    }
                }
            }

            /// `[M, K]` as tiles `[K, rows of the tile]`.
            #[inline(always)]
            fn pack_rows(a: ArrayView2<'_, $scalar>, packed: &mut Vec<$scalar>) {
                let inputs = a.ncols();
                packed.resize(a.len(), 0.0);
                let mut first = 0;
                while first < a.nrows() {
                    let count = tile_rows(a.nrows() - first);
                    let tile = &mut packed[first * inputs..(first + count) * inputs];
                    for m in 0..count {
                        let row = a.row(first + m).to_slice().expect("rows have no gaps");
                        for (value, a) in tile[m..].iter_mut().step_by(count).zip(row) {
                            *value = *a;
                        }
                    }
                    first += count;
                }
            }

            /// All rows of one panel, a tile at a time.
            #[inline(always)]
            fn rows<S: Simd, const VECTORS: usize>(
                simd: S,
                packed: &[$scalar],
                panel: &[S::$vector],
                c: &mut ArrayViewMut2<'_, $scalar>,
                first: usize,
            ) {
                let inputs = panel.len() / VECTORS;
                let mut row = 0;
                while row < c.nrows() {
                    let count = tile_rows(c.nrows() - row);
                    let tile = &packed[row * inputs..(row + count) * inputs];
                    match count {
                        6 => self::tile::<S, 6, VECTORS>(simd, tile, panel, c, row, first),
                        5 => self::tile::<S, 5, VECTORS>(simd, tile, panel, c, row, first),
                        4 => self::tile::<S, 4, VECTORS>(simd, tile, panel, c, row, first),
                        3 => self::tile::<S, 3, VECTORS>(simd, tile, panel, c, row, first),
                        2 => self::tile::<S, 2, VECTORS>(simd, tile, panel, c, row, first),
                        _ => self::tile::<S, 1, VECTORS>(simd, tile, panel, c, row, first),
                    }
                    row += count;
                }
            }

            /// Some rows of one panel, the sums in registers.
            #[inline(always)]
            fn tile<S: Simd, const M: usize, const VECTORS: usize>(
                simd: S,
                values: &[$scalar],
                panel: &[S::$vector],
                c: &mut ArrayViewMut2<'_, $scalar>,
                row: usize,
                first: usize,
            ) {
                let mut sums = [[simd.$splat(0.0); VECTORS]; M];
                // Arrays of known length, so that no index is checked in the loop.
                let (values, _) = values.as_chunks::<M>();
                let (weights, _) = panel.as_chunks::<VECTORS>();
                for (values, weights) in values.iter().zip(weights) {
                    for (sums, value) in sums.iter_mut().zip(values) {
                        let value = simd.$splat(*value);
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = simd.$mul_add(value, *weight, *sum);
                        }
                    }
                }
                for (m, sums) in sums.iter().enumerate() {
                    let mut c = c.row_mut(row + m);
                    let c = c.as_slice_mut().expect("rows have no gaps");
                    let (c, _) = S::$as_mut_simd(&mut c[first..]);
                    for (c, sum) in c.iter_mut().zip(sums) {
                        *c = simd.$add(*c, *sum);
                    }
                }
            }
        }
    };
}

panels!(
    f32,
    single,
    f32s,
    F32_LANES,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    mul_add_e_f32s,
    add_f32s
);
panels!(
    f64,
    double,
    f64s,
    F64_LANES,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    mul_add_e_f64s,
    add_f64s
);

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn equals_the_plain_product() {
        for (m, k, n) in [
            (1, 1, 1),
            (2, 3, 5),
            (6, 7, 64),
            (7, 33, 65),
            (13, 17, 257),
            (9, 65, 3),
        ] {
            let a = Array2::from_shape_fn((m, k), |(i, j)| ((i * 7 + j * 3) % 11) as f64 - 5.0);
            let b = Array2::from_shape_fn((n, k), |(i, j)| ((i * 5 + j) % 13) as f64 - 6.0);
            let expected = a.dot(&b.t()) + 2.0;
            let panels = Panels::new(b.t());
            let mut c = Array2::from_elem((m, panels.width()), 2.0);
            panels.add_product(a.view(), c.view_mut(), &mut vec![]);
            assert_eq!(c.slice(ndarray::s![.., ..n]), expected, "{m} {k} {n}");
            // Whole numbers of this size are exact in f32 too.
            let single = Panels::new(b.mapv(|x| x as f32).t());
            let mut c = Array2::from_elem((m, single.width()), 2.0_f32);
            single.add_product(a.mapv(|x| x as f32).view(), c.view_mut(), &mut vec![]);
            let c = c.slice(ndarray::s![.., ..n]).mapv(f64::from);
            assert_eq!(c, expected, "{m} {k} {n} in f32");
        }
    }
}
