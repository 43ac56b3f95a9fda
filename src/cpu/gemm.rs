//! Matrix products: the one place with `unsafe` code, as the `gemm` crate takes pointers.

use super::memory::{Memory, matrix, matrix_mut};
use super::threads;
use crate::Real;
use crate::program::Gemm;
use ndarray::{ArrayView2, ArrayViewMut2};

/// c = op(a) · op(b) (+ bias) (+ c)
pub(super) fn gemm<F: Real>(op: &Gemm, memory: &Memory<'_, F>) {
    let (a, b) = (memory.read(op.a.extent()), memory.read(op.b.extent()));
    let mut c = memory.write(op.c.extent());
    let (a, b) = (matrix(&a, op.a), matrix(&b, op.b));
    let mut c = matrix_mut(&mut c, op.c);
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
    let parts = threads::split(2 * m * n * k, usize::MAX);
    product(
        if op.transpose_a { a.reversed_axes() } else { a },
        if op.transpose_b { b.reversed_axes() } else { b },
        c,
        accumulate,
        parts,
    );
}

/// c = a · b, or c += a · b. a: `[M, K]`, b: `[K, N]`, c: `[M, N]`, any strides; on `threads` threads.
#[allow(unsafe_code, reason = "the gemm crate takes pointers and strides")]
pub(super) fn product<F: Real>(
    a: ArrayView2<'_, F>,
    b: ArrayView2<'_, F>,
    mut c: ArrayViewMut2<'_, F>,
    accumulate: bool,
    threads: usize,
) {
    let ((m, k), n) = (a.dim(), b.ncols());
    assert!(
        b.nrows() == k && c.dim() == (m, n),
        "product of {:?} and {:?} into {:?}",
        a.dim(),
        b.dim(),
        c.dim()
    );
    let (a_strides, b_strides) = (a.strides(), b.strides());
    let c_strides = [c.strides()[0], c.strides()[1]];
    let parallelism = if threads > 1 {
        gemm::Parallelism::Rayon(threads)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: pointers, sizes and strides come from live ndarray views, which guarantee that every element so addressed lies
    // inside memory they borrow; the assertion above makes the three sizes agree; `c` is borrowed mutably, so it overlaps
    // neither `a` nor `b`. `F` is f32 or f64 (`Real` is sealed), which `gemm` dispatches on by type.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            c_strides[1],
            c_strides[0],
            accumulate,
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            F::one(),
            F::one(),
            false,
            false,
            false,
            parallelism,
        );
    }
}
