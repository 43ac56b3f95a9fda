//! What operations that carry an expression share: where their operands are, and the walk over their space a block at a time.

use super::Memory;
use super::memory::{Reading, Writing};
use crate::rows::RowScalar;
use crate::expr::{Block, Node, NodeId};
use crate::philox::Stream;
use crate::program::{MOST_VIEWS, Operand, Pointwise, TensorId, View, product};
use parking_lot::Mutex;
use std::ops::Range;

/// Elements of a part: what one thread takes at a time. The same for any number of threads, and so is the order of sums.
pub(super) const PART: usize = 1 << 14;

/// An expression with what is known of it before it runs.
#[derive(Debug)]
pub(crate) struct PreparedBody<F> {
    /// For each turn the statistics that are folded in it, and the nodes they need.
    pub(super) turns: Vec<(Vec<usize>, Vec<NodeId>)>,
    /// The nodes that elements need, and those that results need.
    pub(super) elements: Vec<NodeId>,
    pub(super) results: Vec<NodeId>,
    /// The node of each statistic, where one reads it.
    pub(super) statistics: Vec<Option<NodeId>>,
    /// Blocks that no run is using.
    blocks: Mutex<Vec<Block<F>>>,
}

impl<F: RowScalar> PreparedBody<F> {
    pub(super) fn new(of: &Pointwise) -> Self {
        let body = &of.body;
        let folded = |turn: Vec<usize>| {
            let nodes = turn.iter().map(|index| body.statistics[*index].1);
            let nodes = body.needed(nodes.collect::<Vec<_>>());
            (turn, nodes)
        };
        let node_of = |index| {
            let found = |node: &Node| *node == Node::Statistic(index);
            body.nodes.iter().position(found)
        };
        Self {
            turns: body.turns().into_iter().map(folded).collect(),
            elements: body.needed(body.elements.iter().copied()),
            results: body.needed(body.results.iter().copied()),
            statistics: (0..body.statistics.len()).map(node_of).collect(),
            blocks: Mutex::default(),
        }
    }

    /// Runs a function with a block for the body's nodes.
    pub(super) fn with_block<R>(
        &self,
        of: &Pointwise,
        run: impl FnOnce(&mut Block<F>) -> R,
    ) -> R {
        let idle = self.blocks.lock().pop();
        let mut block = idle.unwrap_or_else(|| Block::new(&of.body));
        let result = run(&mut block);
        self.blocks.lock().push(block);
        result
    }
}

/// What an expression reads, locked.
pub(super) struct Inputs<'a, F> {
    sources: Vec<Source<'a, F>>,
}

enum Source<'a, F> {
    Float(Reading<'a, F>),
    /// The n-th output, which is read where it is written.
    Output(usize),
    Whole(Reading<'a, F>),
    Position,
    Random(Stream),
    Gather {
        table: Reading<'a, F>,
        index: Reading<'a, F>,
        shift: u32,
        stride: usize,
        len: usize,
    },
}

impl<'a, F: RowScalar> Inputs<'a, F> {
    pub(super) fn new(of: &Pointwise, memory: &Memory<'a, F>) -> Self {
        let read = |view: &View, more: usize| {
            let mut slice = view.extent(&of.shape);
            slice.len += more;
            memory.read(slice)
        };
        let source = |(index, operand): (usize, &Operand)| match operand {
            Operand::Float(view) => match of.in_place(index) {
                Some(output) => Source::Output(output),
                None => Source::Float(read(view, 0)),
            },
            Operand::Whole(view) => Source::Whole(read(view, 0)),
            Operand::Position { .. } => Source::Position,
            Operand::Random { rng, site, .. } => {
                Source::Random(Stream::new(&memory.read(*rng), *site))
            }
            Operand::Gather {
                view,
                index,
                shift,
                stride,
                len,
            } => Source::Gather {
                table: read(view, (len - 1) * stride),
                index: read(index, 0),
                shift: *shift,
                stride: *stride,
                len: *len,
            },
        };
        Self {
            sources: of.operands.iter().enumerate().map(source).collect(),
        }
    }

    /// Puts what a leaf reads along a line into a block, from place `to.start` on.
    fn load(
        &self,
        (node, id): (Node, NodeId),
        block: &mut Block<F>,
        to: Range<usize>,
        line: &Line<'_>,
        outputs: &Outputs<'_, F>,
    ) {
        let (Node::Operand(operand) | Node::WholeOperand(operand)) = node else {
            return;
        };
        let (at, stride) = (line.at[2 * operand], line.strides[2 * operand]);
        match &self.sources[operand] {
            Source::Float(elements) => copy(elements, at, stride, &mut block.floats_mut(id)[to]),
            Source::Output(output) => {
                // An output read in place has the operand's strides.
                let (first, elements) = &outputs.0[*output];
                let at = line.at[line.outputs + output] - first;
                copy(elements, at, stride, &mut block.floats_mut(id)[to]);
            }
            Source::Whole(elements) => {
                let mut at = at;
                for whole in &mut block.wholes_mut(id)[to] {
                    *whole = elements[at].to_whole();
                    at += stride;
                }
            }
            Source::Position => {
                let mut at = at as u32;
                for whole in &mut block.wholes_mut(id)[to] {
                    *whole = at;
                    at = at.wrapping_add(stride as u32);
                }
            }
            Source::Random(stream) => {
                let to = &mut block.wholes_mut(id)[to];
                if stride == 1 {
                    stream.words(at, to);
                } else {
                    for (index, word) in to.iter_mut().enumerate() {
                        stream.words(at + index * stride, std::slice::from_mut(word));
                    }
                }
            }
            Source::Gather {
                table,
                index,
                shift,
                stride: step,
                len,
            } => {
                let (mut of, of_stride) = (line.at[2 * operand + 1], line.strides[2 * operand + 1]);
                let mut at = at;
                for float in &mut block.floats_mut(id)[to] {
                    let row = index[of].to_whole().wrapping_sub(*shift) as usize;
                    let inside = row < *len;
                    *float = if inside { table[at + row * step] } else { F::zero() };
                    (at, of) = (at + stride, of + of_stride);
                }
            }
        }
    }
}

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
pub(super) struct Outputs<'a, F>(pub(super) Vec<(usize, &'a mut [F])>);

/// The tensors of some outputs, locked for writing.
pub(super) struct Locked<'a, F> {
    tensors: Vec<(TensorId, Writing<'a, F>)>,
    /// For each output its tensor among those, where it starts in it, and its extent.
    places: Vec<(usize, usize, usize)>,
}

impl<'a, F: RowScalar> Locked<'a, F> {
    pub(super) fn new(of: &Pointwise, memory: &Memory<'a, F>) -> Self {
        let (kept, _) = of.split_shape();
        let elements = of.elements.iter().map(|view| view.extent(&of.shape));
        let results = of.results.iter().map(|view| view.extent(kept));
        let slices: Vec<_> = elements.chain(results).collect();
        let mut tensors: Vec<(TensorId, Writing<'a, F>)> = vec![];
        let mut places = vec![];
        for slice in slices {
            let known = tensors.iter().position(|(id, _)| *id == slice.tensor);
            let index = known.unwrap_or_else(|| {
                tensors.push((slice.tensor, memory.write_whole(slice.tensor)));
                tensors.len() - 1
            });
            places.push((index, slice.offset, slice.len));
        }
        Self { tensors, places }
    }

    /// All outputs, as one part.
    pub(super) fn whole(&mut self) -> Outputs<'_, F> {
        let places = self.places.clone();
        let ranges = places.iter().enumerate();
        let ranges = ranges.map(|(output, (_, first, len))| (0, output, *first..first + len));
        self.carve(1, ranges.collect()).expect("the program was checked").remove(0)
    }

    /// The outputs of each of some parts, which are `of(output, part)` elements of their extents; none where these are not apart.
    pub(super) fn parts(
        &mut self,
        parts: usize,
        of: impl Fn(usize, usize) -> Range<usize>,
    ) -> Option<Vec<Outputs<'_, F>>> {
        let mut ranges = vec![];
        for (output, (_, first, _)) in self.places.iter().enumerate() {
            for part in 0..parts {
                let range = of(output, part);
                ranges.push((part, output, first + range.start..first + range.end));
            }
        }
        self.carve(parts, ranges)
    }

    fn carve(
        &mut self,
        parts: usize,
        mut ranges: Vec<(usize, usize, Range<usize>)>,
    ) -> Option<Vec<Outputs<'_, F>>> {
        let places = &self.places;
        ranges.sort_by_key(|(_, output, range)| (places[*output].0, range.start));
        let mut rest: Vec<(usize, &mut [F])> =
            (self.tensors.iter_mut()).map(|(_, tensor)| (0, &mut tensor[..])).collect();
        let none = || (0..places.len()).map(|_| None).collect();
        let mut carved: Vec<Vec<Option<(usize, &mut [F])>>> = (0..parts).map(|_| none()).collect();
        for (part, output, range) in ranges {
            let (tensor, first, _) = places[output];
            let (at, elements) = &mut rest[tensor];
            let skipped = range.start.checked_sub(*at)?;
            let (_, behind) = std::mem::take(elements).split_at_mut(skipped);
            let (own, behind) = behind.split_at_mut(range.len());
            (*at, *elements) = (range.end, behind);
            carved[part][output] = Some((range.start - first, own));
        }
        let all = carved.into_iter().map(|part| part.into_iter().collect::<Option<_>>());
        all.map(|part| part.map(Outputs)).collect()
    }
}

/// Elements of a space along its last axis, and where they are for every view.
struct Line<'a> {
    /// For each operand where its first element is, and that of its index; then for each output.
    at: &'a [usize],
    strides: &'a [usize],
    /// The first of the outputs among them.
    outputs: usize,
}

/// A walk over a space in row-major order, an operand's view beside an output's.
pub(super) struct Walk<'a> {
    shape: Vec<usize>,
    /// The strides of each view, by axis.
    views: Vec<&'a [usize]>,
    offsets: Vec<usize>,
    /// The strides along the last axis.
    last: Vec<usize>,
    outputs: usize,
}

const NONE: &[usize] = &[];

impl<'a> Walk<'a> {
    pub(super) fn new(of: &'a Pointwise) -> Self {
        let mut views = vec![];
        let mut offsets = vec![];
        for operand in &of.operands {
            let (first, second) = match operand {
                // What is locked begins at its first element.
                Operand::Float(view) | Operand::Whole(view) => ((0, &view.strides[..]), NONE),
                Operand::Position { offset, strides } => ((*offset, &strides[..]), NONE),
                Operand::Random {
                    offset, strides, ..
                } => ((*offset, &strides[..]), NONE),
                Operand::Gather { view, index, .. } => ((0, &view.strides[..]), &index.strides[..]),
            };
            views.extend([first.1, second]);
            offsets.extend([first.0, 0]);
        }
        let outputs = views.len();
        for view in of.elements.iter().chain(&of.results) {
            views.push(&view.strides);
            offsets.push(0);
        }
        let stride = |view: &&[usize]| view.get(of.shape.len().wrapping_sub(1)).copied();
        Self {
            shape: of.shape.clone(),
            last: views.iter().map(|view| stride(view).unwrap_or(0)).collect(),
            views,
            offsets,
            outputs,
        }
    }

    pub(super) fn len(&self) -> usize {
        product(&self.shape)
    }

    /// The elements of the last axis.
    pub(super) fn line(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Calls a function for each line, or piece of one, in a range of the space's elements.
    fn lines(&self, range: Range<usize>, mut visit: impl FnMut(usize, usize, &Line<'_>)) {
        let line = self.line().max(1);
        let outer = &self.shape[..self.shape.len().saturating_sub(1)];
        let mut at = range.start;
        // On the stack, as this is called for every block.
        let mut places = [0; MOST_VIEWS];
        let place = &mut places[..self.views.len()];
        while at < range.end {
            let (mut rest, inner) = (at / line, at % line);
            place.copy_from_slice(&self.offsets);
            for (view, stride) in place.iter_mut().zip(&self.last) {
                *view += inner * stride;
            }
            for axis in (0..outer.len()).rev() {
                let index = rest % outer[axis];
                rest /= outer[axis];
                if index > 0 {
                    for (view, strides) in place.iter_mut().zip(&self.views) {
                        *view += index * strides.get(axis).unwrap_or(&0);
                    }
                }
            }
            let len = (line - inner).min(range.end - at);
            let here = Line {
                at: place,
                strides: &self.last,
                outputs: self.outputs,
            };
            visit(at - range.start, len, &here);
            at += len;
        }
    }

    /// Puts what some nodes' leaves read in a range of at most [`BLOCK`] elements into a block.
    pub(super) fn load<F: RowScalar>(
        &self,
        (of, nodes): (&Pointwise, &[NodeId]),
        range: Range<usize>,
        inputs: &Inputs<'_, F>,
        outputs: &Outputs<'_, F>,
        block: &mut Block<F>,
    ) {
        self.lines(range, |start, len, line| {
            for id in nodes {
                let node = (of.body.nodes[*id], *id);
                inputs.load(node, block, start..start + len, line, outputs);
            }
        });
    }

    /// Puts what some nodes' leaves read at one element into a place of a block.
    pub(super) fn load_at<F: RowScalar>(
        &self,
        (of, nodes): (&Pointwise, &[NodeId]),
        element: usize,
        to: usize,
        inputs: &Inputs<'_, F>,
        outputs: &Outputs<'_, F>,
        block: &mut Block<F>,
    ) {
        self.lines(element..element + 1, |_, len, line| {
            for id in nodes {
                let node = (of.body.nodes[*id], *id);
                inputs.load(node, block, to..to + len, line, outputs);
            }
        });
    }

    /// Stores elements that were computed in a range.
    pub(super) fn store<F: RowScalar>(
        &self,
        of: &Pointwise,
        range: Range<usize>,
        outputs: &mut Outputs<'_, F>,
        block: &Block<F>,
    ) {
        self.lines(range, |start, len, line| {
            for (output, node) in of.body.elements.iter().enumerate() {
                let values = &block.floats(*node)[start..start + len];
                let (first, to) = &mut outputs.0[output];
                let at = line.at[line.outputs + output] - *first;
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

    /// Where an output's element is that belongs to a place of the space.
    pub(super) fn output_at(&self, output: usize, mut place: usize, axes: usize) -> usize {
        let strides = self.views[self.outputs + output];
        let mut at = 0;
        for axis in (0..axes).rev() {
            at += place % self.shape[axis] * strides.get(axis).unwrap_or(&0);
            place /= self.shape[axis];
        }
        at
    }
}

/// How many parts a space is split into along its first axis, and the elements of that axis in each: about [`PART`] elements.
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
