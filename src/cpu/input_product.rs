//! The input's part of the pre-activations, a block of steps at a time, so that it is in the cache
//! when the cell takes it; where only one thread walks steps, by a second one, ahead of it; where a
//! team does, by all of its threads, before it.

use super::buffer::Form;
use super::memory::{Memory, Reading};
use super::recurrent::{CONTIGUOUS, view};
use crate::panels::{Panels, Start};
use crate::program::{Gemm, Matrix, RecurrentShape};
use crate::rows::RowScalar;
use crate::{caches, threads};
use ndarray::{Array3, ArrayView2, ArrayView3, ArrayViewMut3, Axis, ShapeBuilder, s};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Elements of a block: a quarter of the near cache, which has R and W to hold, too.
fn block() -> usize {
    caches::near() / (4 * size_of::<f32>())
}

/// Rows of a block at least, so that reading W pays.
const BLOCK_ROWS: usize = 256;

/// Parts of a sequence that several threads compute, its steps at least and its elements at most.
const PARTS: usize = 8;
const STEPS: usize = 16 * PARTS;
const WHOLE: usize = 1 << 20;

/// A bias, zeros where there is none, and zeros up to the width of a product.
pub(super) fn padded<F: RowScalar>(bias: Option<&[F]>, width: usize) -> Vec<F> {
    let mut padded = bias.unwrap_or(&[]).to_vec();
    padded.resize(width, F::zero());
    padded
}

/// x_gates = x Wᵀ + b_ih of one direction, with W packed.
pub(super) struct InputProduct<'a, F> {
    x: Reading<'a, F>,
    matrix: Matrix,
    steps: usize,
    weights: Arc<Panels<F>>,
    /// The bias, as wide as the product.
    bias: Vec<F>,
}

impl<'a, F: RowScalar> InputProduct<'a, F> {
    /// The product of an operation; `keep`: whether its packed weights are kept.
    pub(super) fn new(
        op: &Gemm,
        shape: &RecurrentShape,
        memory: &'a Memory<'_, F>,
        keep: bool,
    ) -> Self {
        let weights = memory.packed(op.b, Form::Transposed, keep);
        let bias = op.bias.map(|bias| memory.read(bias));
        Self {
            x: memory.read(op.a.extent()),
            matrix: op.a,
            steps: shape.steps,
            bias: padded(bias.as_deref(), weights.width()),
            weights,
        }
    }

    /// Computes x_gates of x `[t, b, I]` into the first steps of a block `[·, b, width]`.
    fn fill_block(&self, x: ArrayView3<'_, F>, block: ArrayViewMut3<'_, F>) {
        let (bias, width) = (Start::Row(&self.bias), self.weights.width());
        let to = block.into_slice().expect(CONTIGUOUS);
        self.weights.product(x, bias, to, width);
    }

    /// `[T, B, I]`
    fn x(&self) -> ArrayView3<'_, F> {
        let Matrix {
            rows,
            columns,
            row_stride,
            ..
        } = self.matrix;
        let batch = rows / self.steps.max(1);
        let shape = (self.steps, batch, columns);
        if self.x.is_empty() {
            return view(&[], (self.steps, batch, 0));
        }
        view(&self.x, shape.strides((batch * row_stride, row_stride, 1)))
    }
}

/// The x_gates of some rows over the whole sequence, in parts, each computed by the thread that
/// first wants it.
pub(super) struct SharedXGates<'a, F> {
    product: &'a InputProduct<'a, F>,
    /// `[T, b, I]`
    x: ArrayView3<'a, F>,
    /// Steps of a part.
    steps: usize,
    /// The parts, `[steps of the part, b, width]`, in the order of steps.
    parts: [OnceLock<Array3<F>>; PARTS],
    /// Whether time runs backwards.
    reverse: bool,
}

impl<'a, F: RowScalar> SharedXGates<'a, F> {
    /// The parts, for a second thread to [compute ahead](Self::ahead); `None` where it would not pay, or the whole were large.
    pub(super) fn by_two(
        product: &'a InputProduct<'a, F>,
        rows: &Range<usize>,
        reverse: bool,
    ) -> Option<Self> {
        let elements = product.steps * rows.len() * product.weights.width();
        // Each part reads all of W, which few steps do not repay.
        let work = 2 * elements * product.matrix.columns;
        let pays = product.steps >= STEPS && threads::split(work, 2) > 1;
        (pays && elements <= WHOLE).then(|| Self {
            product,
            x: product.x().slice_move(s![.., rows.clone(), ..]),
            steps: product.steps.div_ceil(PARTS),
            parts: std::array::from_fn(|_| OnceLock::new()),
            reverse,
        })
    }

    /// A part, and the first time in it.
    fn part(&self, index: usize) -> (&Array3<F>, usize) {
        let all = self.product.steps;
        let first = (index * self.steps).min(all);
        let end = (first + self.steps).min(all);
        let start = if self.reverse { all - end } else { first };
        let part = self.parts[index].get_or_init(|| {
            let x = self.x.slice(s![start..start + end - first, .., ..]);
            let (steps, rows, _) = x.dim();
            let mut part = Array3::zeros((steps, rows, self.product.weights.width()));
            self.product.fill_block(x, part.view_mut());
            part
        });
        (part, start)
    }

    /// Computes all parts but the first, which whoever walks the steps needs at once.
    pub(super) fn ahead(&self) {
        (1..PARTS).for_each(|index| {
            self.part(index);
        });
    }
}

/// The x_gates of some rows.
pub(super) enum XGates<'a, F> {
    /// The product as another operation left it, `[T, b, G·H]`.
    Ready(ArrayView3<'a, F>),
    /// The product, computed by several threads.
    Shared(&'a SharedXGates<'a, F>),
    /// The product of x `[T, b, I]`, computed a block at a time.
    Computed {
        product: &'a InputProduct<'a, F>,
        x: ArrayView3<'a, F>,
        /// `[steps of a block, b, width]`
        block: Array3<F>,
        /// The first time in the block.
        start: usize,
        /// Whether time runs backwards.
        reverse: bool,
        /// Threads that compute a block.
        threads: usize,
    },
}

impl<'a, F: RowScalar> XGates<'a, F> {
    /// The product of some rows, a block at a time, computed by so many threads.
    pub(super) fn computed(
        product: &'a InputProduct<'a, F>,
        rows: &Range<usize>,
        reverse: bool,
        threads: usize,
    ) -> Self {
        let x = product.x();
        let width = product.weights.width();
        // Several threads have to be woken for a block.
        let elements = if threads > 1 { WHOLE } else { block() };
        let block_rows = (elements / width.max(1)).max(BLOCK_ROWS);
        let steps = (block_rows / rows.len().max(1)).clamp(1, product.steps.max(1));
        Self::Computed {
            product,
            x: x.slice_move(s![.., rows.clone(), ..]),
            block: Array3::zeros((steps, rows.len(), width)),
            start: 0,
            reverse,
            threads,
        }
    }

    /// Computes what the step at time t needs, if that is not there. Returns the first step that needs more.
    pub(super) fn prepare(&mut self, step: usize, t: usize) -> usize {
        let Self::Computed {
            product,
            x,
            block,
            start,
            reverse,
            threads,
        } = self
        else {
            return usize::MAX;
        };
        let length = block.dim().0;
        if step.is_multiple_of(length) {
            let rest = length.min(product.steps - step);
            *start = if *reverse { t + 1 - rest } else { t };
            let x = x.slice(s![*start..*start + rest, .., ..]);
            let steps = rest.div_ceil(*threads);
            let of_thread = x.axis_chunks_iter(Axis(0), steps);
            let to = block.axis_chunks_iter_mut(Axis(0), steps);
            threads::for_each(of_thread.zip(to), |(x, to)| {
                product.fill_block(x, to);
            });
        }
        step - step % length + length
    }

    /// `[b, G·H or more]` at time t of a step that is [prepared](Self::prepare).
    pub(super) fn at(&self, step: usize, t: usize) -> ArrayView2<'_, F> {
        match self {
            Self::Ready(x_gates) => x_gates.index_axis(Axis(0), t),
            Self::Shared(parts) => {
                let (part, start) = parts.part(step / parts.steps);
                part.index_axis(Axis(0), t - start)
            }
            Self::Computed { block, start, .. } => block.index_axis(Axis(0), t - *start),
        }
    }
}
