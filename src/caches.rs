//! The sizes of the processor's caches.

use std::sync::OnceLock;

/// Bytes of the second cache, which a core has to itself: what a thread may use again soon.
pub(crate) fn near() -> usize {
    static NEAR: OnceLock<usize> = OnceLock::new();
    *NEAR.get_or_init(|| gemm_common::cache::CACHE_INFO[1].cache_bytes.max(1 << 17))
}
