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
        let outputs = self.outputs;
        let follow = |(index, b): (usize, &(usize, usize, usize))| {
            let mut before = outputs[..index].iter();
            before.all(|a| a.0 != b.0 || a.1 + a.2 <= b.1)
        };
        if !outputs.iter().enumerate().all(follow) {
            let all = self.parts(1, |output, _| 0..outputs[output].2);
            return all
                .and_then(|mut parts| parts.pop())
                .expect("the program was checked");
        }
        // In order, as they mostly are.
        let tensors = self.tensors.iter_mut();
        let mut rest: SmallVec<[_; 4]> = tensors.map(|tensor| (0, &mut tensor[..])).collect();
        let mut all = Outputs::default();
        for (tensor, first, len) in outputs {
            let (at, elements) = &mut rest[*tensor];
            let (_, behind) = std::mem::take(elements).split_at_mut(first - *at);
            let (own, behind) = behind.split_at_mut(*len);
            (*at, *elements) = (first + len, behind);
            all.0.push((0, own));
        }
        all
    }

    /// The outputs of each of some parts, which are `of(output, part)` elements of their extents; none where these are not apart.
    pub(in crate::cpu) fn parts(
        &mut self,
        parts: usize,
        of: impl Fn(usize, usize) -> Range<usize>,
    ) -> Option<SmallVec<[Outputs<'_, F>; 1]>> {
        let outputs = self.outputs;
        let mut ranges: SmallVec<[_; 4]> = SmallVec::with_capacity(outputs.len() * parts);
        for (output, (tensor, first, _)) in outputs.iter().enumerate() {
            for part in 0..parts {
                let range = of(output, part);
                let range = first + range.start..first + range.end;
                ranges.push((*tensor, range, part, output));
            }
        }
        ranges.sort_unstable_by_key(|(tensor, range, ..)| (*tensor, range.start, range.end));
        // What is left of each tensor, and where that begins.
        let whole = |tensor| -> (usize, &mut [F]) { (0, tensor) };
        let tensors = self.tensors.iter_mut().map(|tensor| whole(tensor));
        let mut rest: SmallVec<[_; 4]> = tensors.collect();
        let none = || -> SmallVec<[_; 4]> { outputs.iter().map(|_| None).collect() };
        let mut carved: SmallVec<[_; 1]> = (0..parts).map(|_| none()).collect();
        for (tensor, range, part, output) in ranges {
            let (at, elements) = &mut rest[tensor];
            let skipped = range.start.checked_sub(*at)?;
            let (_, behind) = std::mem::take(elements).split_at_mut(skipped);
            let (own, behind) = behind.split_at_mut(range.len());
            (*at, *elements) = (range.end, behind);
            carved[part][output] = Some((range.start - outputs[output].1, own));
        }
        // Not collected, as its room is known.
        let mut all = SmallVec::with_capacity(parts);
        for part in carved {
            all.push(Outputs(part.into_iter().collect::<Option<_>>()?));
        }
        Some(all)
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
