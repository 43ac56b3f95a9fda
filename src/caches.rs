//! The processor's name, and the sizes of its caches.

use std::sync::OnceLock;

/// Bytes of the second cache, which a core has to itself: what a thread may use again soon.
pub(crate) fn near() -> usize {
    static NEAR: OnceLock<usize> = OnceLock::new();
    *NEAR.get_or_init(|| gemm_common::cache::CACHE_INFO[1].cache_bytes.max(1 << 17))
}

/// The processor's name, as far as it can be had.
pub(crate) fn processor() -> String {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if let Some(brand) = raw_cpuid::CpuId::new().get_processor_brand_string() {
        return brand.as_str().trim().to_owned();
    }
    std::env::consts::ARCH.to_owned()
}
