//! Memory that begins at a cache line.

use crate::Real;
use std::ops::{Deref, DerefMut, Range};

/// Bytes of a cache line, and of the widest vector there is: one that crosses a line takes two accesses.
const LINE: usize = 64;

/// Elements of which the first begins a cache line.
#[derive(Debug)]
pub(crate) struct Aligned<F> {
    values: Vec<F>,
    range: Range<usize>,
}

impl<F: Real> Aligned<F> {
    pub(crate) fn zeros(len: usize) -> Self {
        if len == 0 {
            return Self {
                values: vec![],
                range: 0..0,
            };
        }
        let values = vec![F::zero(); len + LINE / size_of::<F>()];
        // Not aligned where that cannot be known, as when code is interpreted.
        let start = values.as_ptr().align_offset(LINE);
        let start = start.min(LINE / size_of::<F>());
        Self {
            values,
            range: start..start + len,
        }
    }
}

impl<F> Deref for Aligned<F> {
    type Target = [F];
    fn deref(&self) -> &[F] {
        &self.values[self.range.clone()]
    }
}

impl<F> DerefMut for Aligned<F> {
    fn deref_mut(&mut self) -> &mut [F] {
        &mut self.values[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_at_a_line() {
        for len in [0, 1, 15, 16, 1000] {
            let single = Aligned::<f32>::zeros(len);
            let double = Aligned::<f64>::zeros(len);
            assert_eq!((single.len(), double.len()), (len, len));
            assert!(len == 0 || single.as_ptr().addr().is_multiple_of(LINE));
            assert!(len == 0 || double.as_ptr().addr().is_multiple_of(LINE));
        }
    }
}
