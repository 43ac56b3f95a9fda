//! Weights on their way from a far cache while others are multiplied with.

use crate::trusted::fetch;

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// What is fetched into the near cache during a product with other weights: from where on, and how many bytes for each input of that. It may
/// lie in a far cache, whose answers take longer than the processor looks ahead by itself.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    pub(super) from: *const u8,
    pub(super) bytes: usize,
}

impl Ahead {
    pub(super) const NOTHING: Self = Self {
        from: std::ptr::null(),
        bytes: 0,
    };

    /// Fetches the share of the next input.
    #[inline(always)]
    pub(super) fn fetch<const LINES: usize>(&mut self) {
        for line in 0..LINES {
            fetch(self.from.wrapping_byte_add(line * LINE));
        }
        if LINES > 0 {
            self.from = self.from.wrapping_byte_add(self.bytes);
        }
    }
}
