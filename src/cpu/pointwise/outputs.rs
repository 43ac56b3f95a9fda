//! What expressions write, and its parts.

use super::PART;
use crate::cpu::memory::Writing;
use crate::rows::RowScalar;
use smallvec::SmallVec;
use std::ops::Range;

/// The outputs of a part, each with the place of its first element.
pub(in crate::cpu) struct Outputs<'a, F>(pub(super) SmallVec<[(usize, &'a mut [F]); 4]>);

impl<F> Default for Outputs<'_, F> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<F> Outputs<'_, F> {
    /// Sets an element of an output.
    pub(in crate::cpu) fn set(&mut self, output: usize, at: usize, value: F) {
        let (first, elements) = &mut self.0[output];
        elements[at - *first] = value;
    }
}

/// The tensors of some outputs, locked for writing.
pub(in crate::cpu) struct Locked<'p, 'a, F> {
    pub(super) tensors: SmallVec<[Writing<'a, F>; 4]>,
    pub(super) outputs: &'p [(usize, usize, usize)],
}

impl<F: RowScalar> Locked<'_, '_, F> {
    /// All outputs, as one part.
    pub(in crate::cpu) fn whole(&mut self) -> Outputs<'_, F> {
        if self.tensors.len() == self.outputs.len() {
            // Each in a tensor of its own, in order.
            let all = self.tensors.iter_mut().zip(self.outputs);
            let own = |(tensor, (_, first, len)): (_, &(usize, usize, usize))| {
                let tensor: &mut Writing<'_, F> = tensor;
                (0, &mut tensor[*first..first + len])
            };
            return Outputs(all.map(own).collect());
        }
        let extent = |output: usize, _| 0..self.outputs[output].2;
        let ranges = Self::ranges(self.outputs, 1, extent);
        self.carve(1, ranges)
            .expect("the program was checked")
            .remove(0)
    }

    /// The outputs of each of some parts, which are `of(output, part)` elements of their extents; none where these are not apart.
    pub(in crate::cpu) fn parts(
        &mut self,
        parts: usize,
        of: impl Fn(usize, usize) -> Range<usize>,
    ) -> Option<Vec<Outputs<'_, F>>> {
        let ranges = Self::ranges(self.outputs, parts, of);
        self.carve(parts, ranges)
    }

    fn ranges(
        outputs: &[(usize, usize, usize)],
        parts: usize,
        of: impl Fn(usize, usize) -> Range<usize>,
    ) -> Vec<(usize, usize, Range<usize>)> {
        let mut ranges = vec![];
        for (output, (_, first, _)) in outputs.iter().enumerate() {
            for part in 0..parts {
                let range = of(output, part);
                ranges.push((part, output, first + range.start..first + range.end));
            }
        }
        ranges
    }

    fn carve(
        &mut self,
        parts: usize,
        mut ranges: Vec<(usize, usize, Range<usize>)>,
    ) -> Option<Vec<Outputs<'_, F>>> {
        let outputs = self.outputs;
        ranges.sort_by_key(|(_, output, range)| (outputs[*output].0, range.start));
        let mut rest: Vec<(usize, &mut [F])> = (self.tensors.iter_mut())
            .map(|tensor| (0, &mut tensor[..]))
            .collect();
        // Of each part, of each output: where it begins and its elements.
        let mut carved: Vec<Vec<_>> = (0..parts)
            .map(|_| outputs.iter().map(|_| None).collect())
            .collect();
        for (part, output, range) in ranges {
            let (tensor, first, _) = outputs[output];
            let (at, elements) = &mut rest[tensor];
            let skipped = range.start.checked_sub(*at)?;
            let (_, behind) = std::mem::take(elements).split_at_mut(skipped);
            let (own, behind) = behind.split_at_mut(range.len());
            (*at, *elements) = (range.end, behind);
            carved[part][output] = Some((range.start - first, own));
        }
        let all = carved
            .into_iter()
            .map(|part| part.into_iter().collect::<Option<_>>());
        all.map(|part| part.map(Outputs)).collect()
    }
}

/// How many parts a space is split into along its first axis, and the places of that axis in each: about [`PART`] elements.
pub(in crate::cpu) fn parts_of(first: usize, rest: usize) -> (usize, usize) {
    let rows = (PART / rest.max(1)).clamp(1, first.max(1));
    (first.div_ceil(rows), rows)
}

/// The extent of a part of an output: some places of the first axis, whatever the others.
pub(in crate::cpu) fn part_extent(
    slice_len: usize,
    stride: usize,
    rows: Range<usize>,
    count: usize,
) -> Range<usize> {
    // The last place of the first axis reaches to the end.
    let rest = slice_len - (count - 1) * stride;
    let start = rows.start * stride;
    start..start + (rows.len() - 1) * stride + rest
}
