//! A product with panels, in the best vector instructions that the processor has.

use super::{PanelScalar, Panels, Start};
use ndarray::{ArrayView3, Axis};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Vectors in a full panel: with the rows of a tile, as many sums as the registers hold.
const fn full_panel(registers: usize) -> usize {
    if registers >= 32 { 4 } else { 2 }
}

/// Rows of the next tile: 6 make as many sums as the registers hold; the last few tiles share the
/// rest evenly.
#[inline(always)]
fn tile_rows(rest: usize) -> usize {
    rest.div_ceil(rest.div_ceil(6))
}

/// Rows that meet a panel one after the other, so that it comes out of a far cache once for all of
/// them.
const GROUP: usize = 96;

macro_rules! panels {
    ($scalar:ty, $module:ident, $vector:ident, $lanes:ident, $as_simd:ident, $as_mut_simd:ident, $splat:ident, $mul_add:ident, $add:ident) => {
        impl PanelScalar for $scalar {
            fn lanes_and_vectors() -> (usize, usize) {
                Arch::new().dispatch($module::Sizes)
            }
            fn product(
                (panels, range): (&Panels<Self>, Range<usize>),
                a: ArrayView3<'_, Self>,
                start: Start<'_, Self>,
                c: &mut [Self],
                stride: usize,
            ) {
                Arch::new().dispatch($module::Product {
                    panels,
                    range,
                    a,
                    start,
                    c,
                    stride,
                });
            }
        }

        pub(crate) mod $module {
            use super::*;

            pub(super) struct Sizes;

            impl WithSimd for Sizes {
                type Output = (usize, usize);
                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) -> Self::Output {
                    (S::$lanes, full_panel(S::REGISTER_COUNT))
                }
            }

            pub(super) struct Product<'a> {
                pub(super) panels: &'a Panels<$scalar>,
                pub(super) range: Range<usize>,
                pub(super) a: ArrayView3<'a, $scalar>,
                pub(super) start: Start<'a, $scalar>,
                pub(super) c: &'a mut [$scalar],
                pub(super) stride: usize,
            }

            impl WithSimd for Product<'_> {
                type Output = ();

                #[inline(always)]
                fn with_simd<S: Simd>(self, simd: S) {
                    let mut group: [&[$scalar]; GROUP] = [&[]; GROUP];
                    let (mut count, mut first) = (0, 0);
                    let (outer, inner, _) = self.a.dim();
                    for i in 0..outer {
                        let part = self.a.index_axis_move(Axis(0), i);
                        for j in 0..inner {
                            let row = part.index_axis_move(Axis(0), j);
                            group[count] = row.to_slice().expect("rows have no gaps");
                            count += 1;
                            if count == GROUP || (i + 1, j + 1) == (outer, inner) {
                                let c = &mut self.c[first * self.stride..];
                                let stride = self.stride;
                                let panels = (self.panels, &self.range);
                                rows(simd, panels, &group[..count], self.start, c, stride);
                                (first, count) = (first + count, 0);
                            }
                        }
                    }
                }
            }

            /// A range of panels, for some rows.
            #[inline(always)]
            fn rows<S: Simd>(
                simd: S,
                (panels, range): (&Panels<$scalar>, &Range<usize>),
                a: &[&[$scalar]],
                start: Start<'_, $scalar>,
                c: &mut [$scalar],
                stride: usize,
            ) {
                let columns = panels.vectors * S::$lanes;
                for index in range.clone() {
                    let vectors = panels
                        .vectors
                        .min((panels.width - index * columns) / S::$lanes);
                    let c = &mut c[(index - range.start) * columns..];
                    panel(simd, panels, (index, vectors), a, start, c, stride);
                }
            }

            /// One panel of so many vectors ([`MOST_VECTORS`] at most): its columns of c.
            #[inline(always)]
            pub(crate) fn panel<S: Simd>(
                simd: S,
                panels: &Panels<$scalar>,
                (index, vectors): (usize, usize),
                a: &[&[$scalar]],
                start: Start<'_, $scalar>,
                c: &mut [$scalar],
                stride: usize,
            ) {
                let first = index * panels.vectors * S::$lanes;
                let last = first + vectors * S::$lanes;
                let part = &panels.values[panels.inputs * first..panels.inputs * last];
                let (part, _) = S::$as_simd(part);
                let start = match start {
                    Start::Sum => Start::Sum,
                    Start::Zero => Start::Zero,
                    Start::Row(row) => Start::Row(S::$as_simd(&row[first..last]).0),
                };
                match vectors {
                    4 => tiles::<S, 4>(simd, part, a, start, c, stride),
                    3 => tiles::<S, 3>(simd, part, a, start, c, stride),
                    2 => tiles::<S, 2>(simd, part, a, start, c, stride),
                    _ => tiles::<S, 1>(simd, part, a, start, c, stride),
                }
            }

            /// One panel, a tile of rows at a time.
            #[inline(always)]
            fn tiles<S: Simd, const VECTORS: usize>(
                simd: S,
                panel: &[S::$vector],
                mut a: &[&[$scalar]],
                start: Start<'_, S::$vector>,
                mut c: &mut [$scalar],
                stride: usize,
            ) {
                while !a.is_empty() {
                    let count = tile_rows(a.len());
                    match count {
                        6 => tile::<S, 6, VECTORS>(simd, panel, a, start, c, stride),
                        5 => tile::<S, 5, VECTORS>(simd, panel, a, start, c, stride),
                        4 => tile::<S, 4, VECTORS>(simd, panel, a, start, c, stride),
                        3 => tile::<S, 3, VECTORS>(simd, panel, a, start, c, stride),
                        2 => tile::<S, 2, VECTORS>(simd, panel, a, start, c, stride),
                        _ => tile::<S, 1, VECTORS>(simd, panel, a, start, c, stride),
                    }
                    a = &a[count..];
                    c = c.get_mut(count * stride..).unwrap_or_default();
                }
            }

            /// Some rows of one panel, the sums in registers.
            #[inline(always)]
            fn tile<S: Simd, const M: usize, const VECTORS: usize>(
                simd: S,
                panel: &[S::$vector],
                a: &[&[$scalar]],
                start: Start<'_, S::$vector>,
                c: &mut [$scalar],
                stride: usize,
            ) {
                let (weights, _) = panel.as_chunks::<VECTORS>();
                let inputs = weights.len();
                // Cut to the length of the loop, so that no index is checked in it.
                let a: [&[$scalar]; M] = std::array::from_fn(|m| &a[m][..inputs]);
                let first = match start {
                    Start::Row(start) => std::array::from_fn(|vector| start[vector]),
                    Start::Sum | Start::Zero => [simd.$splat(0.0); VECTORS],
                };
                let mut sums = [first; M];
                for (k, weights) in weights.iter().enumerate() {
                    // All at once: with loads in it the loop below would not be unrolled, and the
                    // sums not stay in registers.
                    let values: [$scalar; M] = std::array::from_fn(|m| a[m][k]);
                    for (sums, value) in sums.iter_mut().zip(values) {
                        let value = simd.$splat(value);
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = simd.$mul_add(value, *weight, *sum);
                        }
                    }
                }
                // No loop: an index that is not constant would keep the sums out of registers.
                let mut store = |m: usize, sums: [S::$vector; VECTORS]| {
                    let (c, _) = S::$as_mut_simd(&mut c[m * stride..]);
                    for (c, sum) in c.iter_mut().zip(sums) {
                        *c = match start {
                            Start::Sum => simd.$add(*c, sum),
                            Start::Zero | Start::Row(_) => sum,
                        };
                    }
                };
                store(0, sums[0]);
                if M > 1 {
                    store(1, sums[1]);
                }
                if M > 2 {
                    store(2, sums[2]);
                }
                if M > 3 {
                    store(3, sums[3]);
                }
                if M > 4 {
                    store(4, sums[4]);
                }
                if M > 5 {
                    store(5, sums[5]);
                }
            }
        }
    };
}

panels! {
    f32, single, f32s, F32_LANES, as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_e_f32s, add_f32s
}
panels! {
    f64, double, f64s, F64_LANES, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_e_f64s, add_f64s
}
