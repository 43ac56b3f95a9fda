//! A product with panels, in the best vector instructions that the processor has.

use super::ahead::{Ahead, LINE};
use super::{Order, PanelScalar, Panels, Start};
use crate::caches;
use ndarray::{ArrayView3, Axis};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// Vectors in a full panel: with the rows of a tile, as many sums as the registers hold.
const fn full_panel(registers: usize) -> usize {
    if registers >= 32 { 4 } else { 2 }
}

/// Rows of the next tile: the most make as many sums as the registers hold; the last few tiles share
/// the rest evenly.
#[inline(always)]
fn tile_rows(rest: usize) -> usize {
    rest.div_ceil(rest.div_ceil(MOST_ROWS))
}

/// Rows of a tile at most.
pub(super) const MOST_ROWS: usize = 6;

/// Rows that meet a panel one after the other, so that it comes out of a far cache once for all of
/// them.
const GROUP: usize = 96;

macro_rules! panels {
    ($scalar:ty, $module:ident, $vector:ident, $lanes:ident, $as_simd:ident, $as_mut_simd:ident, $splat:ident, $mul_add:ident) => {
        impl PanelScalar for $scalar {
            fn lanes_and_vectors() -> (usize, usize) {
                Arch::new().dispatch($module::Sizes)
            }
            fn product(
                (panels, range, order): (&Panels<Self>, Range<usize>, Order),
                a: ArrayView3<'_, Self>,
                start: Start<'_, Self>,
                c: &mut [Self],
                stride: usize,
            ) {
                Arch::new().dispatch($module::Product {
                    panels,
                    range,
                    order,
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
                pub(super) order: Order,
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
                                let panels = (self.panels, &self.range, self.order);
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
                (panels, range, order): (&Panels<$scalar>, &Range<usize>, Order),
                a: &[&[$scalar]],
                start: Start<'_, $scalar>,
                c: &mut [$scalar],
                stride: usize,
            ) {
                let columns = panels.vectors * S::$lanes;
                let fetches = panels.want_fetching(range, a.len());
                let of_turn = |turn: usize| match order {
                    Order::Forth => range.start + turn,
                    Order::Back => range.end - 1 - turn,
                };
                for turn in 0..range.len() {
                    let index = of_turn(turn);
                    let vectors = panels
                        .vectors
                        .min((panels.width - index * columns) / S::$lanes);
                    let next = fetches.then(|| of_turn((turn + 1).min(range.len() - 1)));
                    let c = &mut c[(index - range.start) * columns..];
                    panel(simd, panels, (index, vectors, next), a, start, c, stride);
                }
            }

            /// One panel of so many vectors ([`MOST_VECTORS`](super::MOST_VECTORS) at most): its columns of c. The third number is the panel
            /// that comes next, where that is to be fetched.
            #[inline(always)]
            pub(crate) fn panel<S: Simd>(
                simd: S,
                panels: &Panels<$scalar>,
                (index, vectors, next): (usize, usize, Option<usize>),
                a: &[&[$scalar]],
                start: Start<'_, $scalar>,
                c: &mut [$scalar],
                stride: usize,
            ) {
                let column = |index: usize| index * panels.vectors * S::$lanes;
                let columns = column(index)..column(index) + vectors * S::$lanes;
                let start = match start {
                    Start::Row(row) => Start::Row(&row[columns.clone()]),
                    start => start,
                };
                let block = Block {
                    weights: &panels.values
                        [panels.inputs * columns.start..panels.inputs * columns.end],
                    ahead: Ahead::NOTHING,
                    a,
                    start,
                    c,
                    stride,
                };
                let next = next.map(|next| &panels.values[panels.inputs * column(next)..]);
                match vectors {
                    4 => blocks::<S, 4>(simd, block, next),
                    3 => blocks::<S, 3>(simd, block, next),
                    2 => blocks::<S, 2>(simd, block, next),
                    _ => blocks::<S, 1>(simd, block, next),
                }
            }

            /// One panel, at once or, where the next is to be fetched, as many inputs at a time as the near cache holds beside those that
            /// come after them.
            #[inline(always)]
            fn blocks<S: Simd, const VECTORS: usize>(
                simd: S,
                panel: Block<'_>,
                next: Option<&[$scalar]>,
            ) {
                let adds = matches!(panel.start, Start::Sum);
                // But for the most usual one functions of their own: in one that is larger still, sums do not stay in registers.
                let Some(next) = next else {
                    return match adds {
                        false => Tiles::<VECTORS, 0, false>(panel).with_simd(simd),
                        true => apart::<S, VECTORS, 0, true>(simd, panel),
                    };
                };
                let Block {
                    weights,
                    a,
                    mut start,
                    c,
                    stride,
                    ..
                } = panel;
                let of_input = VECTORS * S::$lanes;
                let of_block = (caches::near() / (8 * size_of::<$scalar>() * of_input)).max(1);
                // Every tile fetches a part of what comes after the block.
                let bytes =
                    (of_input * size_of::<$scalar>()).div_ceil(a.len().div_ceil(MOST_ROWS).max(1));
                let mut of_rows: [&[$scalar]; GROUP] = [&[]; GROUP];
                let mut first = 0;
                for weights in weights.chunks(of_block * of_input) {
                    let inputs = weights.len() / of_input;
                    for (of_row, a) in of_rows.iter_mut().zip(a) {
                        *of_row = &a[first..first + inputs];
                    }
                    first += inputs;
                    let after = panel
                        .weights
                        .get(first * of_input..)
                        .filter(|after| !after.is_empty());
                    let from = after.unwrap_or(next).as_ptr().cast();
                    let block = Block {
                        weights,
                        ahead: Ahead { from, bytes },
                        a: &of_rows[..a.len()],
                        start,
                        c: &mut *c,
                        stride,
                    };
                    match (bytes <= LINE, matches!(start, Start::Sum)) {
                        (true, false) => apart::<S, VECTORS, 1, false>(simd, block),
                        (true, true) => apart::<S, VECTORS, 1, true>(simd, block),
                        (false, false) => apart::<S, VECTORS, 2, false>(simd, block),
                        (false, true) => apart::<S, VECTORS, 2, true>(simd, block),
                    }
                    start = Start::Sum;
                }
            }

            /// The product of a block in a function of its own.
            #[inline(never)]
            fn apart<S: Simd, const VECTORS: usize, const LINES: usize, const ADDS: bool>(
                simd: S,
                block: Block<'_>,
            ) {
                simd.vectorize(Tiles::<VECTORS, LINES, ADDS>(block));
            }

            /// Some inputs of a panel, and what they are multiplied with.
            struct Block<'a> {
                weights: &'a [$scalar],
                ahead: Ahead,
                /// Those inputs of every row.
                a: &'a [&'a [$scalar]],
                start: Start<'a, $scalar>,
                c: &'a mut [$scalar],
                stride: usize,
            }

            /// The product of a block, a tile of rows at a time.
            struct Tiles<'a, const VECTORS: usize, const LINES: usize, const ADDS: bool>(Block<'a>);

            impl<const VECTORS: usize, const LINES: usize, const ADDS: bool> WithSimd
                for Tiles<'_, VECTORS, LINES, ADDS>
            {
                type Output = ();

                #[inline(always)]
                fn with_simd<S: Simd>(self, simd: S) {
                    let Block {
                        weights,
                        mut ahead,
                        mut a,
                        start,
                        mut c,
                        stride,
                    } = self.0;
                    let (weights, _) = S::$as_simd(weights).0.as_chunks::<VECTORS>();
                    while !a.is_empty() {
                        let count = tile_rows(a.len());
                        match count {
                            6 => tile::<S, 6, VECTORS, LINES, ADDS>(
                                simd, weights, ahead, a, start, c, stride,
                            ),
                            5 => tile::<S, 5, VECTORS, LINES, ADDS>(
                                simd, weights, ahead, a, start, c, stride,
                            ),
                            4 => tile::<S, 4, VECTORS, LINES, ADDS>(
                                simd, weights, ahead, a, start, c, stride,
                            ),
                            // So few rows load all the time as it is.
                            3 => tile::<S, 3, VECTORS, 0, ADDS>(
                                simd, weights, ahead, a, start, c, stride,
                            ),
                            2 => tile::<S, 2, VECTORS, 0, ADDS>(
                                simd, weights, ahead, a, start, c, stride,
                            ),
                            _ => tile::<S, 1, VECTORS, 0, ADDS>(
                                simd, weights, ahead, a, start, c, stride,
                            ),
                        }
                        a = &a[count..];
                        c = c.get_mut(count * stride..).unwrap_or_default();
                        ahead.from = ahead.from.wrapping_add(weights.len() * ahead.bytes);
                    }
                }
            }

            /// Some rows of one block, the sums in registers.
            #[inline(always)]
            fn tile<
                S: Simd,
                const M: usize,
                const VECTORS: usize,
                const LINES: usize,
                const ADDS: bool,
            >(
                simd: S,
                weights: &[[S::$vector; VECTORS]],
                mut ahead: Ahead,
                a: &[&[$scalar]],
                start: Start<'_, $scalar>,
                c: &mut [$scalar],
                stride: usize,
            ) {
                let inputs = weights.len();
                // Cut to the length of the loop, so that no index is checked in it.
                let a: [&[$scalar]; M] = std::array::from_fn(|m| &a[m][..inputs]);
                let sum = match start {
                    Start::Row(start) => {
                        let (start, _) = S::$as_simd(start);
                        std::array::from_fn(|vector| start[vector])
                    }
                    Start::Sum | Start::Zero => [simd.$splat(0.0); VECTORS],
                };
                let mut sums = [sum; M];
                // No loops over rows: an index that is not constant would keep the sums out of registers.
                if ADDS {
                    let load = |m: usize| {
                        let (c, _) = S::$as_simd(&c[m * stride..]);
                        *c.first_chunk().expect("rows of c are as wide")
                    };
                    sums[0] = load(0);
                    if M > 1 {
                        sums[1] = load(1);
                    }
                    if M > 2 {
                        sums[2] = load(2);
                    }
                    if M > 3 {
                        sums[3] = load(3);
                    }
                    if M > 4 {
                        sums[4] = load(4);
                    }
                    if M > 5 {
                        sums[5] = load(5);
                    }
                }
                for (k, weights) in weights.iter().enumerate() {
                    // All at once: with loads in it the loop below would not be unrolled, and the
                    // sums not stay in registers.
                    let values: [$scalar; M] = std::array::from_fn(|m| a[m][k]);
                    ahead.fetch::<LINES>();
                    for (sums, value) in sums.iter_mut().zip(values) {
                        let value = simd.$splat(value);
                        for (sum, weight) in sums.iter_mut().zip(weights) {
                            *sum = simd.$mul_add(value, *weight, *sum);
                        }
                    }
                }
                let mut store = |m: usize, sums: [S::$vector; VECTORS]| {
                    let (c, _) = S::$as_mut_simd(&mut c[m * stride..]);
                    *c.first_chunk_mut().expect("rows of c are as wide") = sums;
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
    f32, single, f32s, F32_LANES, as_simd_f32s, as_mut_simd_f32s, splat_f32s, mul_add_e_f32s
}
panels! {
    f64, double, f64s, F64_LANES, as_simd_f64s, as_mut_simd_f64s, splat_f64s, mul_add_e_f64s
}
