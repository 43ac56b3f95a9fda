//! The only unsafe code of the crate: calls and instructions, each with the reason why it is sound.
#![allow(
    unsafe_code,
    reason = "the gemm crates take pointers, threads outlive what they are lent, a processor's mode is set and its caches are told what comes by instructions, and wgpu's loop checks, pipeline caches and experimental features come by unsafe calls only"
)]

use crate::Real;
use ndarray::{ArrayView2, ArrayViewMut2};
use parking_lot::RwLock;
use std::any::TypeId;
use std::cell::RefCell;
use std::sync::Arc;

/// c = a · b, or c += a · b. a: `[M, K]`, b: `[K, N]`, c: `[M, N]`, any strides that are not negative; on this thread.
pub(crate) fn product<'v, F: Real>(
    mut a: ArrayView2<'v, F>,
    mut b: ArrayView2<'v, F>,
    mut c: ArrayViewMut2<'_, F>,
    accumulate: bool,
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
                    gemm_common::Parallelism::None,
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

/// Work that other threads may do until it is taken back.
pub(crate) struct Loan(RwLock<Option<&'static (dyn Fn() + Sync)>>);

impl Loan {
    /// Does the work, unless it was taken back. Does not wait.
    pub(crate) fn call(&self) {
        if let Some(work) = self.0.try_read() {
            work.iter().for_each(|work| work());
        }
    }
}

/// Runs a function that may give work to other threads. Returns once it was taken back and nobody is at it any more.
pub(crate) fn lend<R>(work: &(dyn Fn() + Sync), run: impl FnOnce(&Arc<Loan>) -> R) -> R {
    thread_local! {
        /// Loans without work, for the next ones: whoever still holds one of earlier work may call it.
        static SPARE: RefCell<Vec<Arc<Loan>>> = const { RefCell::new(vec![]) };
    }
    struct TakeBack(Arc<Loan>);
    impl Drop for TakeBack {
        fn drop(&mut self) {
            *self.0.0.write() = None;
            // Where the thread is ending, there is no next.
            let _ = SPARE.try_with(|spare| spare.borrow_mut().push(Arc::clone(&self.0)));
        }
    }
    // SAFETY: the reference leaves this function in nothing but the loan, which gives it to nobody and calls it only under its lock for reading.
    // `TakeBack` is dropped before this function returns or unwinds, and nothing can keep that from happening: it waits for all readers
    // and leaves none of the reference behind, so that the work outlives every use of it.
    let lent: &'static (dyn Fn() + Sync) = unsafe { std::mem::transmute(work) };
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
    let spare = spare.ok().flatten();
    let loan = TakeBack(spare.unwrap_or_else(|| Arc::new(Loan(RwLock::new(None)))));
    *loan.0.0.write() = Some(lent);
    run(&loan.0)
}

/// Makes this thread's arithmetic take numbers too small for all their digits as 0, and give 0 for them, until this goes. Does nothing where
/// a processor is not known to have such a mode.
pub(crate) struct FlushDenormals {
    before: u64,
}

impl FlushDenormals {
    pub(crate) fn new() -> Self {
        let before = control::read();
        control::write(before | control::FLUSH);
        Self { before }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        control::write(self.before);
    }
}

/// The register that says how floats are computed with.
///
/// Writing its mode is sound here: the register gets what was read from it but for bits that change no control flow and no memory, only
/// how operations on denormal numbers round. Rust's own code may assume the ordinary mode; what it computes beforehand by that, or
/// in another order, differs by such numbers alone, and no code of the crate tells them from 0.
#[cfg(target_arch = "x86_64")]
mod control {
    /// Results are flushed to zero, and operands count as zero.
    pub(super) const FLUSH: u64 = 1 << 15 | 1 << 6;

    pub(super) fn read() -> u64 {
        let mut control = 0_u32;
        // SAFETY: the instruction stores 32 bits, where the pointer leads.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
        }
        control.into()
    }

    pub(super) fn write(control: u64) {
        // What was read has 32 bits.
        let control = control as u32;
        // SAFETY: the instruction loads 32 bits, from where the pointer leads; the module says why the mode may change.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags));
        }
    }
}

/// The register of another architecture, as above.
#[cfg(target_arch = "aarch64")]
mod control {
    /// FPCR.FZ
    pub(super) const FLUSH: u64 = 1 << 24;

    pub(super) fn read() -> u64 {
        let control: u64;
        // SAFETY: the instruction reads the register and does nothing else.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags));
        }
        control
    }

    pub(super) fn write(control: u64) {
        // SAFETY: as above, where the module says why the mode may change.
        unsafe {
            std::arch::asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags));
        }
    }
}

/// No register is known.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) const FLUSH: u64 = 0;

    pub(super) fn read() -> u64 {
        0
    }

    pub(super) fn write(_: u64) {}
}

/// Fetches the cache line at an address into the nearest cache but one, where the processor can be told to. Reads nothing: any address will do.
#[inline(always)]
pub(crate) fn fetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: the instruction is part of every x86-64; it accesses no memory in the language's sense, and does not fail for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: the instruction is a hint: it changes nothing but caches, and does not fail for any address.
        unsafe {
            std::arch::asm!("prfm pldl2keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
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
    // SAFETY: the data must come from `PipelineCache::get_data` of the same adapter and driver. It comes through a file in the user's own
    // cache directory, which `gpu::store` takes only where length and checksum, adapter and driver are those it wrote: what was damaged or
    // is another's does not get here. What a checksum cannot tell is a file that somebody forged who may write to that directory, and so
    // may as well replace the user's programs. wgpu checks its own header beside.
    unsafe { device.create_pipeline_cache(&descriptor) }
}

/// The token for wgpu's experimental features, of which the crate uses one: cooperative matrices.
pub(crate) fn experimental_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: what wgpu does not check of them is that the adapter lists the size and types used, which `gpu::adapter::cooperative` does;
    // that a whole tile lies inside its buffer, which `gpu::ops::gemm` takes care of: rows and columns are multiples of the tile, and the copies in f16
    // are padded to it; and that a subgroup is of one mind where it meets one, which `shaders/gemm/cooperative.wgsl` says why.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}
