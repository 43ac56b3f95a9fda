//! The only unsafe code of the crate: calls into other crates, each with the reason why it is sound.
#![allow(
    unsafe_code,
    reason = "the gemm crates take pointers, and wgpu's loop checks, pipeline caches and experimental features come by unsafe calls only"
)]

use crate::Real;
use ndarray::{ArrayView2, ArrayViewMut2};
use std::any::TypeId;

/// c = a · b, or c += a · b. a: `[M, K]`, b: `[K, N]`, c: `[M, N]`, any strides that are not negative; on `threads` threads.
pub(crate) fn product<'v, F: Real>(
    mut a: ArrayView2<'v, F>,
    mut b: ArrayView2<'v, F>,
    mut c: ArrayViewMut2<'_, F>,
    accumulate: bool,
    threads: usize,
) {
    assert!(
        b.nrows() == a.ncols() && c.dim() == (a.nrows(), b.ncols()),
        "product of {:?} and {:?} into {:?}",
        a.dim(),
        b.dim(),
        c.dim()
    );
    if c.strides()[1] < c.strides()[0] {
        // The kernels write columns: cᵀ = bᵀ · aᵀ.
        (a, b) = (b.reversed_axes(), a.reversed_axes());
        c = c.reversed_axes();
    }
    let ((m, k), n) = (a.dim(), b.ncols());
    let strides = [a.strides(), b.strides(), c.strides()].map(|s| [s[0], s[1]]);
    assert!(
        strides.as_flattened().iter().all(|stride| *stride >= 0),
        "a product's strides are {strides:?}"
    );
    let [a_strides, b_strides, c_strides] = strides;
    let parallelism = if threads > 1 {
        gemm_common::Parallelism::Rayon(threads)
    } else {
        gemm_common::Parallelism::None
    };
    macro_rules! product {
        ($number:ty, $kernel:expr) => {
            // SAFETY: pointers, sizes and strides come from live ndarray views, which guarantee that every element so addressed lies
            // inside memory they borrow; the assertions make the three sizes agree and the strides what the kernels take; `c` is
            // borrowed mutably, so it overlaps neither `a` nor `b`; `F` is the type of number that the condition below says.
            unsafe {
                $kernel(
                    m,
                    n,
                    k,
                    c.as_mut_ptr().cast::<$number>(),
                    c_strides[1],
                    c_strides[0],
                    accumulate,
                    a.as_ptr().cast::<$number>(),
                    a_strides[1],
                    a_strides[0],
                    b.as_ptr().cast::<$number>(),
                    b_strides[1],
                    b_strides[0],
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    parallelism,
                );
            }
        };
    }
    if TypeId::of::<F>() == TypeId::of::<f32>() {
        product!(f32, gemm_f32::gemm::f32::get_gemm_fn());
    } else {
        // `Real` is sealed: there is no third.
        assert_eq!(TypeId::of::<F>(), TypeId::of::<f64>());
        product!(f64, gemm_f64::gemm::f64::get_gemm_fn());
    }
}

/// Compiles WGSL that this crate wrote itself, without wgpu's loop bounds: counters that end a loop after 2⁶⁴ turns, and that
/// keep drivers from unrolling loops of known length (2 times slower products on lavapipe). Bounds of memory accesses stay checked.
pub(crate) fn shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    let mut checks = wgpu::ShaderRuntimeChecks::checked();
    checks.force_loop_bounding = false;
    // SAFETY: what the checks left out guard against is a loop without an end, which drivers may take as undefined behaviour. Every
    // loop in `shaders/` is a `for` whose counter moves strictly towards a bound that is fixed before the loop;
    // cells from outside the crate are not compiled here.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

/// A cache of compiled pipelines, filled with what an earlier one gave, where there is that.
pub(crate) fn pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor {
        label: Some("bptt"),
        data,
        fallback: true,
    };
    // SAFETY: the data comes from `PipelineCache::get_data`, through a file in the user's own cache directory that only this crate writes,
    // as a whole. wgpu checks its header, the adapter and the driver, and starts an empty cache where they differ.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

/// The token for wgpu's experimental features, of which the crate uses one: cooperative matrices.
pub(crate) fn experimental_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: what wgpu does not check of them is that the adapter lists the size and types used, which `gpu::adapter::cooperative` does;
    // that a whole tile lies inside its buffer, which `gpu::ops::gemm` takes care of: rows and columns are multiples of the tile, and the copies in f16
    // are padded to it; and that a subgroup is of one mind where it meets one, which `shaders/gemm/cooperative.wgsl` says why.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
