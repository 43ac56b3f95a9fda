//! The walk over a space, a block at a time.

use super::{Inputs, Outputs, Read, Stage};
use crate::expr::{Block, NodeId, REGISTER};
use crate::program::{Operand, Pointwise};
use crate::rows::RowScalar;
use smallvec::SmallVec;
use std::ops::Range;

/// Elements of a space along its last axis, and where they are for every view.
pub(super) struct Line<'a> {
    /// For each operand where its line begins, and that of its index; then for each output.
    pub(super) begins: &'a [usize],
    pub(super) strides: &'a [usize],
    /// How far along the line the first element is.
    pub(super) inner: usize,
    /// The first of the outputs among them.
    pub(super) outputs: usize,
}

impl Line<'_> {
    /// Where the first element of a view is.
    #[inline]
    pub(super) fn at(&self, view: usize) -> usize {
        self.begins[view] + self.inner * self.strides[view]
    }
}

/// A walk over a space in row-major order: for each operand its view and that of its index, then for each output its view.
#[derive(Debug)]
pub(in crate::cpu) struct Walk {
    /// The sizes of the space; those of a row are at least 1, so that a row of no elements has a place for its results.
    pub(super) shape: Vec<usize>,
    len: usize,
    /// The strides of each view, by axis; of fewer axes where it repeats along the others.
    pub(super) strides: Vec<Vec<usize>>,
    pub(super) offsets: Vec<usize>,
    /// The strides along the last axis.
    pub(super) last: Vec<usize>,
    pub(super) outputs: usize,
}

impl Walk {
    pub(super) fn new(of: &Pointwise) -> Self {
        let (mut strides, mut offsets) = (vec![], vec![]);
        for operand in &of.operands {
            let (own, offset, index) = match operand {
                // What is locked begins at its first element.
                Operand::Float(view) | Operand::Whole(view) => (&view.strides, 0, None),
                Operand::Position { offset, strides }
                | Operand::Random {
                    offset, strides, ..
                } => (strides, *offset, None),
                Operand::Gather { view, index, .. } => (&view.strides, 0, Some(&index.strides)),
            };
            strides.extend([own.clone(), index.cloned().unwrap_or_default()]);
            offsets.extend([offset, 0]);
        }
        let outputs = strides.len();
        for view in of.elements.iter().chain(&of.results) {
            strides.push(view.strides.clone());
            offsets.push(0);
        }
        let rank = of.shape.len();
        let last = |strides: &Vec<usize>| strides.get(rank.wrapping_sub(1)).copied().unwrap_or(0);
        let (kept, folded) = of.split_shape();
        let folded = folded.iter().map(|size| *size.max(&1));
        Self {
            shape: kept.iter().copied().chain(folded).collect(),
            len: of.len(),
            last: strides.iter().map(last).collect(),
            strides,
            offsets,
            outputs,
        }
    }

    pub(in crate::cpu) fn len(&self) -> usize {
        self.len
    }

    /// The line of the first element.
    pub(super) fn first(&self) -> Line<'_> {
        Line {
            begins: &self.offsets,
            strides: &self.last,
            inner: 0,
            outputs: self.outputs,
        }
    }

    /// Calls a function for each line, or piece of one, in a range of the space's elements.
    #[inline]
    fn lines(&self, range: Range<usize>, mut visit: impl FnMut(usize, usize, &Line<'_>)) {
        let line = self.shape.last().copied().unwrap_or(1).max(1);
        let outer = &self.shape[..self.shape.len().saturating_sub(1)];
        if outer.is_empty() {
            let whole = Line {
                inner: range.start,
                ..self.first()
            };
            return visit(0, range.len(), &whole);
        }
        // On the stack, as this is called for every block.
        let mut begins: SmallVec<[usize; 64]> = SmallVec::new();
        let mut at = range.start;
        while at < range.end {
            let (mut rest, inner) = (at / line, at % line);
            begins.clear();
            begins.extend_from_slice(&self.offsets);
            for axis in (0..outer.len()).rev() {
                let index = rest % outer[axis];
                rest /= outer[axis];
                if index > 0 {
                    for (view, strides) in begins.iter_mut().zip(&self.strides) {
                        *view += index * strides.get(axis).unwrap_or(&0);
                    }
                }
            }
            let len = (line - inner).min(range.end - at);
            let here = Line {
                begins: &begins,
                inner,
                ..self.first()
            };
            visit(at - range.start, len, &here);
            at += len;
        }
    }

    /// The elements that a stage reads as they lie side by side along lines, where it does no more than that, and their view.
    pub(in crate::cpu) fn direct<'i, F: RowScalar>(
        &self,
        stage: &Stage,
        inputs: &'i Inputs<'_, F>,
    ) -> Option<(&'i [F], usize)> {
        let ([leaf], true) = (&stage.leaves[..], stage.schedule.is_empty()) else {
            return None;
        };
        let Read::Float(from) = &inputs.operands[leaf.operand] else {
            return None;
        };
        let elements = inputs.part(from);
        let view = 2 * leaf.operand;
        (self.last[view] == 1).then_some((elements, view))
    }

    /// Puts what a stage's leaves read in a range of at most [`BLOCK`](crate::expr::BLOCK) elements into a block, from place `to` on.
    pub(in crate::cpu) fn load<F: RowScalar>(
        &self,
        stage: &Stage,
        (range, to): (Range<usize>, usize),
        inputs: &Inputs<'_, F>,
        outputs: &Outputs<'_, F>,
        block: &mut Block<F>,
    ) {
        self.lines(range, |start, len, line| {
            for leaf in stage.leaves.iter().filter(|leaf| leaf.changes) {
                inputs.load(*leaf, block, to + start..to + start + len, line, outputs);
            }
        });
    }

    /// What [`Walk::load`] does at the start of a block, but for leaves whose elements are neighbours: it says
    /// where those are.
    pub(in crate::cpu) fn find<'i, F: RowScalar>(
        &self,
        stage: &Stage,
        range: Range<usize>,
        inputs: &'i Inputs<'_, F>,
        outputs: &'i Outputs<'_, F>,
        block: &mut Block<F>,
    ) -> SmallVec<[(NodeId, &'i [F]); 8]> {
        let mut found = SmallVec::new();
        let whole = range.len();
        self.lines(range, |start, len, line| {
            for leaf in stage.leaves.iter().filter(|leaf| leaf.changes) {
                let neighbours = leaf.inner && len == whole && len % REGISTER == 0;
                let elements = neighbours.then(|| inputs.neighbours(*leaf, len, line, outputs));
                match elements.flatten() {
                    Some(elements) => found.push((leaf.node, elements)),
                    None => inputs.load(*leaf, block, start..start + len, line, outputs),
                }
            }
        });
        found
    }

    /// Stores elements that were computed in a range.
    pub(in crate::cpu) fn store<F: RowScalar>(
        &self,
        elements: &[NodeId],
        range: Range<usize>,
        outputs: &mut Outputs<'_, F>,
        block: &Block<F>,
    ) {
        self.lines(range, |start, len, line| {
            for (output, node) in elements.iter().enumerate() {
                let values = &block.floats(*node)[start..start + len];
                let (first, to) = &mut outputs.0[output];
                let at = line.at(line.outputs + output) - *first;
                match line.strides[line.outputs + output] {
                    1 => to[at..at + len].copy_from_slice(values),
                    stride => {
                        let to = to[at..].iter_mut().step_by(stride.max(1));
                        to.zip(values).for_each(|(to, value)| *to = *value);
                    }
                }
            }
        });
    }

    /// Where an output's element is that belongs to a place of the first axes of the space.
    pub(in crate::cpu) fn output_at(&self, output: usize, place: usize, axes: usize) -> usize {
        self.at(self.outputs + output, place, axes)
    }

    /// Where a view's element is that belongs to a place of the first axes of the space.
    pub(in crate::cpu) fn at(&self, view: usize, mut place: usize, axes: usize) -> usize {
        let strides = &self.strides[view];
        let mut at = 0;
        for axis in (0..axes).rev() {
            at += place % self.shape[axis] * strides.get(axis).unwrap_or(&0);
            place /= self.shape[axis];
        }
        at
    }
}
