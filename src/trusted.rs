//! The only unsafe code of the crate: four calls into other crates, each with the reason why it is sound.
#![allow(
    unsafe_code,
    reason = "the gemm crate takes pointers, and wgpu's loop checks, pipeline caches and experimental features come by unsafe calls only"
)]

use crate::Real;
use ndarray::{ArrayView2, ArrayViewMut2};

/// c = a · b, or c += a · b. a: `[M, K]`, b: `[K, N]`, c: `[M, N]`, any strides; on `threads` threads.
pub(crate) fn product<F: Real>(
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
