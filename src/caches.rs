//! The processor's name, and the sizes of its caches.

use std::sync::OnceLock;

/// A thread's part of the second cache, in bytes: what it may use again soon.
pub(crate) fn near() -> usize {
    static NEAR: OnceLock<usize> = OnceLock::new();
    *NEAR.get_or_init(|| gemm_common::cache::CACHE_INFO[1].cache_bytes.max(1 << 17))
}

/// The processor's name, as far as it can be had, and how many the process has.
pub(crate) fn processor() -> String {
    #[cfg(all(target_arch = "x86_64", not(target_env = "sgx")))]
    if let Some(brand) = raw_cpuid::CpuId::new().get_processor_brand_string() {
        return with_count(brand.as_str().trim());
    }
    with_count(std::env::consts::ARCH)
}

fn with_count(name: &str) -> String {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{name} x {count}")
}
