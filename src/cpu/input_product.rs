//! The input's part of the pre-activations, a block of steps at a time, so that it is in the cache when the cell takes it.

use super::buffer::Form;
use super::memory::{Memory, Reading};
use super::panels::{Panels, Start};
use super::recurrent::{CONTIGUOUS, view};
use crate::Real;
use crate::program::{Gemm, Matrix, RecurrentShape};
use ndarray::{Array3, ArrayView2, ArrayView3, Axis, ShapeBuilder, s};
use std::ops::Range;
use std::sync::Arc;

/// Elements of a block that a near cache holds, and the rows it has at least, so that reading W pays.
const BLOCK: usize = 1 << 17;
const BLOCK_ROWS: usize = 256;

/// A bias, zeros where there is none, and zeros up to the width of a product.
pub(super) fn padded<F: Real>(bias: Option<&[F]>, width: usize) -> Vec<F> {
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
    /// As wide as the product.
    bias: Vec<F>,
}

impl<'a, F: Real> InputProduct<'a, F> {
    /// `keep`: the packed weights.
    pub(super) fn new(
        op: &Gemm,
        shape: &RecurrentShape,
        memory: &Memory<'a, F>,
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

/// The x_gates of some rows.
pub(super) enum XGates<'a, F> {
    /// `[T, b, G·H]`
    Ready(ArrayView3<'a, F>),
    /// To be computed from x `[T, b, I]`.
    Left {
        product: &'a InputProduct<'a, F>,
        x: ArrayView3<'a, F>,
        /// `[steps of a block, b, width]`
        block: Array3<F>,
        /// The first time in the block.
        start: usize,
        /// Whether time runs backwards.
        reverse: bool,
    },
}

impl<'a, F: Real> XGates<'a, F> {
    pub(super) fn left(
        product: &'a InputProduct<'a, F>,
        rows: &Range<usize>,
        reverse: bool,
    ) -> Self {
        let x = product.x();
        let width = product.weights.width();
        let block_rows = (BLOCK / width.max(1)).max(BLOCK_ROWS);
        let steps = (block_rows / rows.len().max(1)).clamp(1, product.steps.max(1));
        Self::Left {
            product,
            x: x.slice_move(s![.., rows.clone(), ..]),
            block: Array3::zeros((steps, rows.len(), width)),
            start: 0,
            reverse,
        }
    }

    /// `[b, G·H or more]` at time t; steps come one after the other.
    pub(super) fn at(&mut self, step: usize, t: usize) -> ArrayView2<'_, F> {
        match self {
            Self::Ready(x_gates) => x_gates.index_axis(Axis(0), t),
            Self::Left {
                product,
                x,
                block,
                start,
                reverse,
            } => {
                let (length, _, width) = block.dim();
                if step.is_multiple_of(length) {
                    let left = length.min(product.steps - step);
                    *start = if *reverse { t + 1 - left } else { t };
                    let x = x.slice(s![*start..*start + left, .., ..]);
                    let to = block.as_slice_mut().expect(CONTIGUOUS);
                    product
                        .weights
                        .product(x, Start::Row(&product.bias), to, width);
                }
                block.index_axis(Axis(0), t - *start)
            }
        }
    }
}
