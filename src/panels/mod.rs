//! Products with a matrix that stays the same for many: packed once, then a tile of registers at a
//! time.

mod ahead;
mod tiles;

pub(crate) use tiles::single;

use crate::{Real, caches, threads};
use aligned_vec::{AVec, ConstAlign};
use ndarray::{Array2, ArrayView2, ArrayView3, Axis, s};
use std::ops::Range;

/// Elements of which the first begins a cache line, as a vector that crosses a line takes two accesses.
pub(crate) type Aligned<F> = AVec<F, ConstAlign<64>>;

/// Aligned zeros, `len` of them.
pub(crate) fn aligned_zeros<F: Real>(len: usize) -> Aligned<F> {
    aligned_vec::avec![[64]| F::zero(); len]
}

/// A matrix `[K, N]` as panels of some vectors of columns, each panel `[K, width]`; the last is
/// filled up with zeros.
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

/// In which order a product takes panels. In turns, what the near cache still holds of them is used first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// From the first to the last.
    Forth,
    /// From the last to the first.
    Back,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub enum Start<'a, F> {
    /// What is there.
    Sum,
    /// Nothing.
    Zero,
    /// A row `[width]`, the same for all rows.
    Row(&'a [F]),
}

/// What products need of a scalar type.
pub trait PanelScalar: Real {
    /// Numbers in a vector of the processor, and vectors in a full panel.
    fn lanes_and_vectors() -> (usize, usize);
    /// See [`Panels::part`].
    fn product(
        panels: (&Panels<Self>, Range<usize>, Order),
        a: ArrayView3<'_, Self>,
        start: Start<'_, Self>,
        c: &mut [Self],
        stride: usize,
    );
}

impl<F: PanelScalar> Panels<F> {
    /// Packs a matrix `[K, N]` whose rows or columns are contiguous.
    pub(crate) fn new(matrix: ArrayView2<'_, F>) -> Self {
        Self::packed(matrix, 1, F::lanes_and_vectors().1)
    }

    /// Packs R `[G·H, P]` for products with Rᵀ in which a panel has all gates of a vector of units.
    pub(crate) fn of_units(matrix: ArrayView2<'_, F>, gates: usize) -> Self {
        Self::packed(matrix.reversed_axes(), gates, 1)
    }

    /// A row `[G·H]` as the columns of a matrix that was packed by [units](Self::of_units); zeros where there is none.
    pub(crate) fn row_of_units(&self, row: Option<&[F]>, gates: usize) -> Vec<F> {
        let lanes = F::lanes_and_vectors().0;
        let mut by_units = vec![F::zero(); self.width];
        let row = row.unwrap_or(&[]);
        for (gate, row) in row.chunks((self.outputs / gates).max(1)).enumerate() {
            for (block, units) in row.chunks(lanes).enumerate() {
                let first = (block * gates + gate) * lanes;
                by_units[first..first + units.len()].copy_from_slice(units);
            }
        }
        by_units
    }

    /// Packs a matrix of some groups of columns, of each of which a panel has so many vectors; on
    /// several threads where it is large.
    fn packed(matrix: ArrayView2<'_, F>, groups: usize, vectors: usize) -> Self {
        let (inputs, outputs) = matrix.dim();
        let (of_group, (lanes, _)) = (outputs / groups, F::lanes_and_vectors());
        let (width, most) = (groups * of_group.next_multiple_of(lanes), vectors * lanes);
        let mut values = aligned_zeros(inputs * width);
        let panels = values.chunks_mut((inputs * groups * most).max(1));
        let panels = (0..of_group).step_by(most).zip(panels);
        threads::for_each_of(8 * inputs * width, panels, |(first, panel)| {
            let width = panel.len() / inputs;
            for group in 0..groups {
                let start = group * of_group;
                let columns = start + first..start + (first + width / groups).min(of_group);
                let columns = matrix.slice(s![.., columns]);
                pack(columns, &mut panel[group * width / groups..], width);
            }
        });
        let vectors = groups * vectors;
        Self {
            inputs,
            outputs,
            width,
            vectors,
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

    /// The number of panels.
    pub(crate) fn count(&self) -> usize {
        self.width.div_ceil(self.panel_width().max(1))
    }

    /// The columns of some panels.
    pub(crate) fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        let column = |panel: usize| (panel * self.panel_width()).min(self.width);
        column(panels.start)..column(panels.end)
    }

    /// Says whether products of so many rows with some panels go better when each panel is fetched during the product with the one before: it is if
    /// the near cache does not hold them from one product to the next, and there is more to do with each number than to load it.
    pub(crate) fn want_fetching(&self, panels: &Range<usize>, rows: usize) -> bool {
        let bytes = self.columns(panels).len() * self.inputs * size_of::<F>();
        rows > tiles::MOST_ROWS && bytes > caches::near() / 2
    }

    /// c = start + a · matrix. a: `[M₀, M₁, K]`, whose rows have no gaps, M = M₀ M₁; c: `[M,
    /// width]`, a row every `stride`.
    pub(crate) fn product(
        &self,
        a: ArrayView3<'_, F>,
        start: Start<'_, F>,
        c: &mut [F],
        stride: usize,
    ) {
        self.part((0..self.count(), Order::Forth), a, start, c, stride);
    }

    /// [`product`](Self::product) of a `[M, K]` with the first columns of c `[M, width or more]`.
    pub(crate) fn product_to(&self, a: ArrayView2<'_, F>, start: Start<'_, F>, c: &mut Array2<F>) {
        let stride = c.ncols();
        let c = c.as_slice_mut().expect("rows have no gaps");
        self.product(a.insert_axis(Axis(0)), start, c, stride);
    }

    /// [`product`](Self::product) with the columns of some panels alone, which c has without the
    /// others; `start` is of all.
    pub(crate) fn part(
        &self,
        (panels, order): (Range<usize>, Order),
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
        F::product((self, panels, order), a, start, c, stride);
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

#[cfg(test)]
mod tests;
