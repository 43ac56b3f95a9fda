//! Products with a matrix that stays the same for many: packed once, then a tile of registers at a time.

use super::aligned::Aligned;
use super::threads;
use crate::Real;
use ndarray::{ArrayView2, ArrayView3, Axis, s};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// A matrix `[K, N]` as panels of some vectors of columns, each panel `[K, width]`; the last is filled up with zeros.
#[derive(Debug)]
pub struct Panels<F> {
    inputs: usize,
    /// N
    outputs: usize,
    /// Columns of all panels, those that fill up included.
    width: usize,
    /// Vectors of a panel, but for the last.
    vectors: usize,
    values: Aligned<F>,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub enum Start<'a, F> {
    /// What is there.
    Sum,
    /// A row `[width]`, the same for all rows.
    Row(&'a [F]),
}

/// What products need of a scalar type.
pub trait PanelScalar: Sized {
    /// Numbers in a vector of the processor, and vectors in a full panel.
    fn lanes_and_vectors() -> (usize, usize);
    fn product(
        panels: (&Panels<Self>, Range<usize>),
        a: ArrayView3<'_, Self>,
        start: Start<'_, Self>,
        c: &mut [Self],
        stride: usize,
    );
}

impl<F: Real> Panels<F> {
    /// Packs a matrix `[K, N]` whose rows or columns are contiguous, on several threads where it is large.
    pub(crate) fn new(matrix: ArrayView2<'_, F>) -> Self {
        let (inputs, outputs) = matrix.dim();
        let (lanes, vectors) = F::lanes_and_vectors();
        let (width, panel) = (outputs.next_multiple_of(lanes), vectors * lanes);
        let mut values = Aligned::zeros(inputs * width);
        if !values.is_empty() {
            let panels: Vec<_> = values
                .chunks_mut(inputs * panel)
                .enumerate()
                .map(|(index, part)| (index * panel, part))
                .collect();
            threads::for_each_of(8 * inputs * width, panels, |(first, part)| {
                let width = part.len() / inputs;
                let last = (first + width).min(outputs);
                pack(matrix.slice(s![.., first..last]), part, width);
            });
        }
        Self {
            inputs,
            outputs,
            width,
            vectors,
            values,
        }
    }

    /// Packs R `[G·H, P]` for products with Rᵀ in which a panel has all gates of a vector of units.
    pub(crate) fn of_units(matrix: ArrayView2<'_, F>, gates: usize) -> Self {
        let (outputs, inputs) = matrix.dim();
        let (hidden, (lanes, _)) = (outputs / gates, F::lanes_and_vectors());
        let (width, panel) = (gates * hidden.next_multiple_of(lanes), gates * lanes);
        let mut values = Aligned::zeros(inputs * width);
        let panels = values.chunks_mut((inputs * panel).max(1));
        for (first, part) in (0..hidden).step_by(lanes).zip(panels) {
            for gate in 0..gates {
                let units = gate * hidden + first..gate * hidden + (first + lanes).min(hidden);
                let columns = matrix.slice(s![units, ..]).reversed_axes();
                pack(columns, &mut part[gate * lanes..], panel);
            }
        }
        Self {
            inputs,
            outputs,
            width,
            vectors: gates,
            values,
        }
    }

    /// The columns of a panel.
    pub(crate) fn panel_width(&self) -> usize {
        self.vectors * F::lanes_and_vectors().0
    }

    /// The columns that the result of a product must have.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// K
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// N
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.width.div_ceil(self.panel_width().max(1))
    }

    /// The columns of some of them.
    pub(crate) fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        let column = |panel: usize| (panel * self.panel_width()).min(self.width);
        column(panels.start)..column(panels.end)
    }

    /// c = start + a · matrix. a: `[M₀, M₁, K]`, whose rows have no gaps, M = M₀ M₁; c: `[M, width]`, a row every `stride`.
    pub(crate) fn product(
        &self,
        a: ArrayView3<'_, F>,
        start: Start<'_, F>,
        c: &mut [F],
        stride: usize,
    ) {
        self.part(0..self.count(), a, start, c, stride);
    }

    /// The same with the columns of some panels alone, which c has without the others; `start` is of all.
    pub(crate) fn part(
        &self,
        panels: Range<usize>,
        a: ArrayView3<'_, F>,
        start: Start<'_, F>,
        c: &mut [F],
        stride: usize,
    ) {
        let (outer, inner, inputs) = a.dim();
        let (rows, width) = (outer * inner, self.columns(&panels).len());
        assert!(
            inputs == self.inputs
                && stride >= width
                && (rows == 0 || c.len() >= (rows - 1) * stride + width),
            "product of {:?} with {} inputs into {} numbers",
            a.dim(),
            self.inputs,
            c.len()
        );
        F::product((self, panels), a, start, c, stride);
    }
}

/// Copies a matrix to where a row begins every `width`.
fn pack<F: Real>(matrix: ArrayView2<'_, F>, panel: &mut [F], width: usize) {
    /// Inputs that are taken of a column at a time: a few cache lines.
    const STRIP: usize = 64;
    let columns = matrix.ncols();
    // A slice of one column has no stride.
    if columns == 1 || matrix.strides()[1] == 1 {
        for (row, to) in matrix.rows().into_iter().zip(panel.chunks_mut(width)) {
            to[..columns].copy_from_slice(row.to_slice().expect("rows have no gaps"));
        }
        return;
    }
    for (strip, to) in panel.chunks_mut(STRIP * width).enumerate() {
        for column in 0..columns {
            let from = matrix.column(column);
            let from = from.to_slice().expect("columns have no gaps");
            let from = &from[strip * STRIP..];
            for (to, value) in to[column..].iter_mut().step_by(width).zip(from) {
                *to = *value;
            }
        }
    }
}

/// The most vectors that a panel may have.
pub(crate) const MOST_VECTORS: usize = 4;

/// Vectors in a full panel: with the rows of a tile, as many sums as the registers hold.
const fn full_panel(registers: usize) -> usize {
    if registers >= 32 { 4 } else { 2 }
}

/// Rows of the next tile: 6 make as many sums as the registers hold; the last few tiles share what is left evenly.
#[inline(always)]
fn tile_rows(left: usize) -> usize {
    left.div_ceil(left.div_ceil(6))
}

/// Rows that meet a panel one after the other, so that it comes out of a far cache once for all of them.
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
                    Start::Sum => None,
                    Start::Row(row) => Some(S::$as_simd(&row[first..last]).0),
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
                start: Option<&[S::$vector]>,
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
                start: Option<&[S::$vector]>,
                c: &mut [$scalar],
                stride: usize,
            ) {
                let (weights, _) = panel.as_chunks::<VECTORS>();
                let inputs = weights.len();
                // Cut to the length of the loop, so that no index is checked in it.
                let a: [&[$scalar]; M] = std::array::from_fn(|m| &a[m][..inputs]);
                let first = match start {
                    None => [simd.$splat(0.0); VECTORS],
                    Some(start) => std::array::from_fn(|vector| start[vector]),
                };
                let mut sums = [first; M];
                for (k, weights) in weights.iter().enumerate() {
                    // All at once: within the loop below, that loop would not be unrolled, and the sums not stay in registers.
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
                            None => simd.$add(*c, sum),
                            Some(_) => sum,
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
mod tests;
