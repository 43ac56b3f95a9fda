//! How sums are split among workgroups.

use crate::program::{Pointwise, product};

/// How the rows of a sum are split.
#[derive(Clone, Copy, Debug)]
pub(in crate::gpu) struct Split {
    pub(in crate::gpu) rows: usize,
    /// Blocks of a row, each of which leaves a partial sum.
    pub(in crate::gpu) blocks: usize,
    /// Whether a workgroup adds a row's blocks up, or an invocation.
    pub(in crate::gpu) by_workgroup: bool,
}

/// Elements that one invocation adds up where that is all there is to do.
const ALONE: usize = 128;

/// Partial sums of an operation, about.
const PARTIALS: usize = 4096;

/// Rounds of a loop: Mesa's llvmpipe ends all loops of an invocation, without a word, after 65,535 of them.
pub(in crate::gpu) const ROUNDS: usize = 16_384;

/// How a sum is split: by its sizes alone, so that every device adds in one order.
pub(in crate::gpu) fn reduce_split(of: &Pointwise) -> Split {
    let (kept, folded) = of.split_shape();
    let (rows, len) = (product(kept).max(1), product(folded));
    let blocks = match (len, rows) {
        (0..=ALONE, _) => 1,
        (_, 0..4) => (len / 16).min(PARTIALS / rows),
        // Enough rows are enough invocations.
        _ => (len / ALONE).min(ALONE),
    };
    let blocks = blocks.max(len.div_ceil(ROUNDS)).max(1);
    Split {
        rows,
        blocks,
        by_workgroup: blocks > ALONE,
    }
}
