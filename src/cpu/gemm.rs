//! Matrix products.

use super::memory::{Memory, matrix, matrix_mut};
use super::small_product::{MOST, SmallProduct, Strided};
use crate::Real;
use crate::program::{Gemm, Matrix};
use crate::threads;
use crate::trusted::product;
use ndarray::Axis;
use std::any::TypeId;

/// A product does about this many times the operations of other work in the same time, and needs that many more to be worth a thread.
const QUICK: usize = 16;

/// Rows or columns of a thread's part come in so many, as the kernels take them.
const PART: usize = 64;

/// c = op(a) · op(b) (+ bias) (+ c)
pub(super) fn gemm<F: Real>(op: &Gemm, memory: &Memory<'_, F>) {
    let (a, b) = (memory.read(op.a.extent()), memory.read(op.b.extent()));
    let mut c_elements = memory.write(op.c.extent());
    let mut c = matrix_mut(&mut c_elements, op.c);
    let mut accumulate = op.accumulate;
    if let Some(bias) = op.bias {
        let bias = memory.read(bias);
        let bias = ndarray::aview1(&bias);
        if accumulate {
            c += &bias;
        } else {
            c.outer_iter_mut().for_each(|mut row| row.assign(&bias));
        }
        accumulate = true;
    }
    let (m, n, k) = op.dimensions();
    let multiplications = m.saturating_mul(n).saturating_mul(k);
    // In x Wᵀ no neighbours of one column of the result lie side by side, so it is left to the large products.
    let is_small = multiplications <= MOST && !op.transpose_b;
    if is_small && TypeId::of::<F>() == TypeId::of::<f32>() {
        let strides = |of: Matrix, transposed: bool| match transposed {
            true => [1, of.row_stride],
            false => [of.row_stride, 1],
        };
        let small = SmallProduct {
            sizes: [m, n, k],
            a: Strided {
                elements: bytemuck::cast_slice(&a),
                strides: strides(op.a, op.transpose_a),
            },
            b: Strided {
                elements: bytemuck::cast_slice(&b),
                strides: strides(op.b, false),
            },
            c: Strided {
                elements: bytemuck::cast_slice_mut(&mut c_elements),
                strides: strides(op.c, false),
            },
            accumulate,
        };
        return small.run();
    }
    let (a, b) = (matrix(&a, op.a), matrix(&b, op.b));
    let a = if op.transpose_a { a.reversed_axes() } else { a };
    let b = if op.transpose_b { b.reversed_axes() } else { b };
    let parts = threads::split(multiplications / (QUICK / 2), usize::MAX);
    // Threads share the longer side.
    let axis = Axis(usize::from(n > m));
    let of_part = m.max(n).div_ceil(parts).next_multiple_of(PART);
    let c = c.axis_chunks_iter_mut(axis, of_part);
    if axis == Axis(0) {
        let tasks = a.axis_chunks_iter(axis, of_part).zip(c);
        threads::for_each(tasks, |(a, c)| product(a, b, c, accumulate));
    } else {
        let tasks = b.axis_chunks_iter(axis, of_part).zip(c);
        threads::for_each(tasks, |(b, c)| product(a, b, c, accumulate));
    }
}
