//! What operations that carry an expression share: where their operands are, and the walk over their space a block at a time.

use super::Memory;
use super::memory::{Reading, Writing};
use crate::expr::{BLOCK, Block, Node, NodeId, REGISTER};
use crate::philox::Stream;
use crate::program::{Operand, Pointwise, Slice, TensorId, product};
use crate::rows::RowScalar;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::ops::Range;

/// Elements of a part: what one thread takes at a time. The same for any number of threads, and so is the order of sums.
pub(super) const PART: usize = 1 << 14;

/// Nodes that are computed together, and the leaves among them: each with its operand and whether it changes over the space.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) nodes: Vec<NodeId>,
    leaves: Vec<Leaf>,
}

impl Stage {
    /// Whether it reads anything that changes over the space.
    pub(super) fn reads_elements(&self) -> bool {
        self.leaves.iter().any(|leaf| leaf.changes)
    }
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    node: NodeId,
    operand: usize,
    changes: bool,
    /// Whether it is only read by other nodes.
    inner: bool,
}

/// An expression with what is known of it before it runs.
#[derive(Debug)]
pub(crate) struct PreparedBody<F> {
    pub(super) of: Pointwise,
    /// For each turn the statistics that are folded in it.
    pub(super) turns: Vec<(Vec<usize>, Stage)>,
    pub(super) elements: Stage,
    pub(super) results: Stage,
    /// The node of each statistic, where one reads it.
    pub(super) statistics: Vec<Option<NodeId>>,
    pub(super) walk: Walk,
    /// The walk with the last axis that forms no row inside.
    pub(super) columns: Option<Walk>,
    /// What each operand is read from.
    reads: Vec<Read>,
    /// The tensors that are written, and for each output its tensor among them, where it starts, and its extent.
    tensors: Vec<TensorId>,
    pub(super) outputs: Vec<(usize, usize, usize)>,
    /// Blocks that no run is using.
    blocks: Mutex<Vec<Block<F>>>,
}

/// What an operand is read from.
#[derive(Debug)]
enum Read {
    Float(Slice),
    /// The n-th output, which is read where it is written.
    Output(usize),
    Whole(Slice),
    Position,
    Random(Slice, u32),
    Gather {
        table: Slice,
        index: Slice,
        shift: u32,
        stride: usize,
        len: usize,
    },
}

impl<F: RowScalar> PreparedBody<F> {
    pub(super) fn new(of: &Pointwise) -> Self {
        let body = &of.body;
        let walk = Walk::new(of);
        let changes = |operand: usize| {
            let views = [2 * operand, 2 * operand + 1];
            let moves = |view: usize| walk.strides[view].iter().any(|stride| *stride > 0);
            of.in_place(operand).is_some() || views.into_iter().any(moves)
        };
        let stage = |roots: Vec<NodeId>| {
            let nodes = body.needed(roots.iter().copied());
            let leaf = |node: &NodeId| match body.nodes[*node] {
                Node::Operand(operand) | Node::WholeOperand(operand) => Some(Leaf {
                    node: *node,
                    operand,
                    changes: changes(operand),
                    inner: !roots.contains(node),
                }),
                _ => None,
            };
            let leaves = nodes.iter().filter_map(leaf).collect();
            Stage { nodes, leaves }
        };
        let folded = |turn: Vec<usize>| {
            let nodes = turn.iter().map(|index| body.statistics[*index].1).collect();
            (turn, stage(nodes))
        };
        let node_of = |index| {
            let found = |node: &Node| *node == Node::Statistic(index);
            body.nodes.iter().position(found)
        };
        let (kept, _) = of.split_shape();
        let elements = of.elements.iter().map(|view| view.extent(&of.shape));
        let results = of.results.iter().map(|view| view.extent(kept));
        let mut tensors = vec![];
        let mut outputs = vec![];
        for slice in elements.chain(results) {
            let known = tensors.iter().position(|id| *id == slice.tensor);
            let index = known.unwrap_or_else(|| {
                tensors.push(slice.tensor);
                tensors.len() - 1
            });
            outputs.push((index, slice.offset, slice.len));
        }
        let columns = (!kept.is_empty()).then(|| {
            let mut turned = of.clone();
            turned.move_axis(kept.len() - 1);
            Walk::new(&turned)
        });
        Self {
            turns: body.turns().into_iter().map(folded).collect(),
            elements: stage(body.elements.clone()),
            results: stage(body.results.clone()),
            statistics: (0..body.statistics.len()).map(node_of).collect(),
            reads: (0..of.operands.len())
                .map(|operand| read(of, operand))
                .collect(),
            walk,
            columns,
            tensors,
            outputs,
            blocks: Mutex::default(),
            of: of.clone(),
        }
    }

    /// Runs a function with a block for the body's nodes, in which what does not change over the space is in place.
    pub(super) fn with_block<R>(
        &self,
        inputs: &Inputs<'_, F>,
        run: impl FnOnce(&mut Block<F>) -> R,
    ) -> R {
        let idle = self.blocks.lock().pop();
        let mut block = idle.unwrap_or_else(|| Block::new(&self.of.body));
        let stages = self.turns.iter().map(|(_, stage)| stage);
        for stage in stages.chain([&self.elements, &self.results]) {
            for leaf in stage.leaves.iter().filter(|leaf| !leaf.changes) {
                let first = self.walk.first();
                inputs.load(*leaf, &mut block, 0..BLOCK, &first, &Outputs::default());
            }
        }
        let result = run(&mut block);
        self.blocks.lock().push(block);
        result
    }

    /// Locks the tensors that are written.
    pub(super) fn lock<'a>(&self, memory: &Memory<'a, F>) -> Locked<'_, 'a, F> {
        Locked {
            outputs: &self.outputs,
            tensors: self
                .tensors
                .iter()
                .map(|id| memory.write_whole(*id))
                .collect(),
        }
    }
}

fn read(of: &Pointwise, operand: usize) -> Read {
    match &of.operands[operand] {
        Operand::Float(view) => match of.in_place(operand) {
            Some(output) => Read::Output(output),
            None => Read::Float(view.extent(&of.shape)),
        },
        Operand::Whole(view) => Read::Whole(view.extent(&of.shape)),
        Operand::Position { .. } => Read::Position,
        Operand::Random { rng, site, .. } => Read::Random(*rng, *site),
        Operand::Gather {
            view,
            index,
            shift,
            stride,
            len,
        } => {
            let mut table = view.extent(&of.shape);
            table.len += (len - 1) * stride;
            Read::Gather {
                table,
                index: index.extent(&of.shape),
                shift: *shift,
                stride: *stride,
                len: *len,
            }
        }
    }
}

/// What an expression reads, locked.
pub(super) struct Inputs<'a, F> {
    sources: SmallVec<[Source<'a, F>; 8]>,
}

enum Source<'a, F> {
    Float(Reading<'a, F>),
    Output(usize),
    Whole(Reading<'a, F>),
    Position,
    Random(Stream),
    /// In a box, as it is larger than the others and rare.
    Gather(Box<Gather<'a, F>>),
}

struct Gather<'a, F> {
    table: Reading<'a, F>,
    index: Reading<'a, F>,
    shift: u32,
    stride: usize,
    len: usize,
}

impl<'a, F: RowScalar> Inputs<'a, F> {
    pub(super) fn new(prepared: &PreparedBody<F>, memory: &Memory<'a, F>) -> Self {
        let source = |read: &Read| match read {
            Read::Float(slice) => Source::Float(memory.read(*slice)),
            Read::Output(output) => Source::Output(*output),
            Read::Whole(slice) => Source::Whole(memory.read(*slice)),
            Read::Position => Source::Position,
            Read::Random(rng, site) => Source::Random(Stream::new(&memory.read(*rng), *site)),
            Read::Gather {
                table,
                index,
                shift,
                stride,
                len,
            } => Source::Gather(Box::new(Gather {
                table: memory.read(*table),
                index: memory.read(*index),
                shift: *shift,
                stride: *stride,
                len: *len,
            })),
        };
        Self {
            sources: prepared.reads.iter().map(source).collect(),
        }
    }

    /// The elements that a leaf reads along a line, where they are floats and neighbours.
    fn neighbours<'i>(
        &'i self,
        leaf: Leaf,
        len: usize,
        line: &Line<'_>,
        outputs: &'i Outputs<'_, F>,
    ) -> Option<&'i [F]> {
        let view = 2 * leaf.operand;
        let (elements, at) = match &self.sources[leaf.operand] {
            Source::Float(elements) => (&elements[..], line.at(view)),
            Source::Output(output) => {
                let (first, elements) = &outputs.0[*output];
                (&elements[..], line.at(line.outputs + output) - first)
            }
            _ => return None,
        };
        (line.strides[view] == 1).then(|| &elements[at..at + len])
    }

    /// Puts what a leaf reads along a line into a block, from place `to.start` on.
    fn load(
        &self,
        leaf: Leaf,
        block: &mut Block<F>,
        to: Range<usize>,
        line: &Line<'_>,
        outputs: &Outputs<'_, F>,
    ) {
        let Leaf { node, operand, .. } = leaf;
        let (at, stride) = (line.at(2 * operand), line.strides[2 * operand]);
        match &self.sources[operand] {
            Source::Float(elements) => copy(elements, at, stride, &mut block.floats_mut(node)[to]),
            Source::Output(output) => {
                // An output read in place has the operand's strides.
                let (first, elements) = &outputs.0[*output];
                let at = line.at(line.outputs + output) - first;
                copy(elements, at, stride, &mut block.floats_mut(node)[to]);
            }
            Source::Whole(elements) => {
                let mut at = at;
                for whole in &mut block.wholes_mut(node)[to] {
                    *whole = elements[at].to_whole();
                    at += stride;
                }
            }
            Source::Position => {
                let mut at = at as u32;
                for whole in &mut block.wholes_mut(node)[to] {
                    *whole = at;
                    at = at.wrapping_add(stride as u32);
                }
            }
            Source::Random(stream) => {
                let to = &mut block.wholes_mut(node)[to];
                if stride == 1 {
                    stream.words(at, to);
                } else {
                    for (index, word) in to.iter_mut().enumerate() {
                        stream.words(at + index * stride, std::slice::from_mut(word));
                    }
                }
            }
            Source::Gather(gather) => {
                let Gather {
                    table,
                    index,
                    shift,
                    stride: step,
                    len,
                } = &**gather;
                let (mut of, of_stride) = (line.at(2 * operand + 1), line.strides[2 * operand + 1]);
                let mut at = at;
                for float in &mut block.floats_mut(node)[to] {
                    let row = index[of].to_whole().wrapping_sub(*shift) as usize;
                    let inside = row < *len;
                    *float = if inside {
                        table[at + row * step]
                    } else {
                        F::zero()
                    };
                    (at, of) = (at + stride, of + of_stride);
                }
            }
        }
    }
}

#[inline]
fn copy<F: Copy>(from: &[F], at: usize, stride: usize, to: &mut [F]) {
    match stride {
        1 => to.copy_from_slice(&from[at..at + to.len()]),
        0 => to.fill(from[at]),
        _ => {
            let from = from[at..].iter().step_by(stride);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}

/// The outputs of a part, each with the place of its first element.
pub(super) struct Outputs<'a, F>(SmallVec<[(usize, &'a mut [F]); 4]>);

impl<F> Default for Outputs<'_, F> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<F> Outputs<'_, F> {
    /// Sets an element of an output.
    pub(super) fn set(&mut self, output: usize, at: usize, value: F) {
        let (first, elements) = &mut self.0[output];
        elements[at - *first] = value;
    }
}

/// The tensors of some outputs, locked for writing.
pub(super) struct Locked<'p, 'a, F> {
    tensors: SmallVec<[Writing<'a, F>; 4]>,
    outputs: &'p [(usize, usize, usize)],
}

impl<F: RowScalar> Locked<'_, '_, F> {
    /// All outputs, as one part.
    pub(super) fn whole(&mut self) -> Outputs<'_, F> {
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
    pub(super) fn parts(
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
        let none = || (0..outputs.len()).map(|_| None).collect();
        let mut carved: Vec<Vec<Option<(usize, &mut [F])>>> = (0..parts).map(|_| none()).collect();
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

/// Elements of a space along its last axis, and where they are for every view.
struct Line<'a> {
    /// For each operand where its line begins, and that of its index; then for each output.
    begins: &'a [usize],
    strides: &'a [usize],
    /// How far along the line the first element is.
    inner: usize,
    /// The first of the outputs among them.
    outputs: usize,
}

impl Line<'_> {
    /// Where the first element of a view is.
    #[inline]
    fn at(&self, view: usize) -> usize {
        self.begins[view] + self.inner * self.strides[view]
    }
}

/// A walk over a space in row-major order: for each operand its view and that of its index, then for each output its view.
#[derive(Debug)]
pub(super) struct Walk {
    shape: Vec<usize>,
    /// The strides of each view, by axis; of fewer axes where it repeats along the others.
    strides: Vec<Vec<usize>>,
    offsets: Vec<usize>,
    /// The strides along the last axis.
    last: Vec<usize>,
    outputs: usize,
}

impl Walk {
    fn new(of: &Pointwise) -> Self {
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
        Self {
            shape: of.shape.clone(),
            last: strides.iter().map(last).collect(),
            strides,
            offsets,
            outputs,
        }
    }

    pub(super) fn len(&self) -> usize {
        product(&self.shape)
    }

    /// The line of the first element.
    fn first(&self) -> Line<'_> {
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

    /// Neighbouring elements of a space that a stage reads as they are, where it does no more than that.
    #[inline]
    pub(super) fn direct<'i, F: RowScalar>(
        &self,
        stage: &Stage,
        range: Range<usize>,
        inputs: &'i Inputs<'_, F>,
    ) -> Option<&'i [F]> {
        let ([leaf], [_]) = (&stage.leaves[..], &stage.nodes[..]) else {
            return None;
        };
        let Source::Float(elements) = &inputs.sources[leaf.operand] else {
            return None;
        };
        let view = 2 * leaf.operand;
        let at = self.at(view, range.start, self.shape.len());
        (self.last[view] == 1).then(|| &elements[at..at + range.len()])
    }

    /// Puts what a stage's leaves read in a range of at most [`BLOCK`] elements into a block, from place `to` on.
    pub(super) fn load<F: RowScalar>(
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
    pub(super) fn find<'i, F: RowScalar>(
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
    pub(super) fn store<F: RowScalar>(
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
    pub(super) fn output_at(&self, output: usize, place: usize, axes: usize) -> usize {
        self.at(self.outputs + output, place, axes)
    }

    /// Where a view's element is that belongs to a place of the first axes of the space.
    fn at(&self, view: usize, mut place: usize, axes: usize) -> usize {
        let strides = &self.strides[view];
        let mut at = 0;
        for axis in (0..axes).rev() {
            at += place % self.shape[axis] * strides.get(axis).unwrap_or(&0);
            place /= self.shape[axis];
        }
        at
    }
}

/// How many parts a space is split into along its first axis, and the places of that axis in each: about [`PART`] elements.
pub(super) fn parts_of(first: usize, rest: usize) -> (usize, usize) {
    let rows = (PART / rest.max(1)).clamp(1, first.max(1));
    (first.div_ceil(rows), rows)
}

/// The extent of a part of an output: some places of the first axis, whatever the others.
pub(super) fn part_extent(
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
