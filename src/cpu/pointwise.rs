//! What operations that carry an expression share: where their operands are, and the walk over their space a block at a time.

mod outputs;
mod walk;

pub(super) use outputs::{Locked, Outputs, part_extent, parts_of};
use walk::Line;
pub(super) use walk::Walk;

use super::Memory;
use super::memory::Reading;
use crate::expr::{BLOCK, Block, Node, NodeId, Schedule, place_in};
use crate::philox::Stream;
use crate::program::{Operand, Pointwise, Slice, TensorId};
use crate::rows::RowScalar;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::ops::Range;

/// Elements of a part: what one thread takes at a time. The same for any number of threads, and so is the order of sums.
pub(super) const PART: usize = 1 << 14;

/// Nodes that are computed together, and the leaves among them: each with its operand and whether it changes over the space.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) schedule: Schedule,
    leaves: Vec<Leaf>,
}

impl Stage {
    /// Says whether a leaf of the stage changes over the space.
    pub(super) fn reads_elements(&self) -> bool {
        self.leaves.iter().any(|leaf| leaf.changes)
    }
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    node: NodeId,
    operand: usize,
    changes: bool,
    /// False for a leaf that is itself asked for, so that its values must lie in the block.
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
    reads: Reads,
    /// The tensors that are written, and for each output its tensor among them, where it starts, and its extent.
    tensors: Vec<TensorId>,
    pub(super) outputs: Vec<(usize, usize, usize)>,
    /// Blocks that no run is using.
    blocks: Mutex<Vec<Block<F>>>,
}

/// A part of one of the tensors that are read.
#[derive(Debug)]
struct Extent {
    tensor: usize,
    range: Range<usize>,
}

/// What an operand is read from.
#[derive(Debug)]
enum Read {
    Float(Extent),
    /// The n-th output, which is read where it is written.
    Output(usize),
    Whole(Extent),
    Position,
    /// The n-th stream of random words.
    Random(usize),
    Gather {
        table: Extent,
        index: Extent,
        shift: u32,
        stride: usize,
        len: usize,
    },
}

/// What the operands of an expression are read from.
#[derive(Debug, Default)]
struct Reads {
    operands: Vec<Read>,
    /// Each tensor once, so that it is locked once.
    tensors: Vec<TensorId>,
    /// Where the seeds of streams are, and their sites.
    streams: Vec<(Extent, u32)>,
}

impl Reads {
    fn new(of: &Pointwise) -> Self {
        let mut reads = Self::default();
        for (index, operand) in of.operands.iter().enumerate() {
            let read = match operand {
                Operand::Float(view) => match of.in_place(index) {
                    Some(output) => Read::Output(output),
                    None => Read::Float(reads.extent(view.extent(&of.shape))),
                },
                Operand::Whole(view) => Read::Whole(reads.extent(view.extent(&of.shape))),
                Operand::Position { .. } => Read::Position,
                Operand::Random { rng, site, .. } => {
                    let seed = reads.extent(*rng);
                    reads.streams.push((seed, *site));
                    Read::Random(reads.streams.len() - 1)
                }
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
                        table: reads.extent(table),
                        index: reads.extent(index.extent(&of.shape)),
                        shift: *shift,
                        stride: *stride,
                        len: *len,
                    }
                }
            };
            reads.operands.push(read);
        }
        reads
    }

    fn extent(&mut self, slice: Slice) -> Extent {
        let range = slice.offset..slice.offset + slice.len;
        let tensor = place_in(&mut self.tensors, slice.tensor);
        Extent { tensor, range }
    }
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
            let schedule = Schedule::new(body, &nodes, &roots);
            Stage { schedule, leaves }
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
            let tensor = place_in(&mut tensors, slice.tensor);
            outputs.push((tensor, slice.offset, slice.len));
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
            reads: Reads::new(of),
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
                inputs.fill(&self.walk, *leaf, &mut block);
            }
        }
        let result = run(&mut block);
        self.blocks.lock().push(block);
        result
    }

    /// Locks the tensors that are written.
    pub(super) fn lock<'a>(&self, memory: &'a Memory<'_, F>) -> Locked<'_, 'a, F> {
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

/// What an expression reads, locked.
pub(super) struct Inputs<'a, F> {
    operands: &'a [Read],
    tensors: SmallVec<[Reading<'a, F>; 8]>,
    streams: SmallVec<[Stream; 1]>,
}

impl<'a, F: RowScalar> Inputs<'a, F> {
    pub(super) fn new(prepared: &'a PreparedBody<F>, memory: &'a Memory<'_, F>) -> Self {
        let Reads {
            operands,
            tensors,
            streams,
        } = &prepared.reads;
        let tensors: SmallVec<_> = tensors.iter().map(|id| memory.read_whole(*id)).collect();
        let stream = |(seed, site): &(Extent, u32)| Stream::new(part(&tensors, seed), *site);
        Self {
            operands,
            streams: streams.iter().map(stream).collect(),
            tensors,
        }
    }

    fn part(&self, of: &Extent) -> &[F] {
        part(&self.tensors, of)
    }

    /// Puts what a leaf reads everywhere into a block, where it is not there from an earlier run.
    fn fill(&self, walk: &Walk, leaf: Leaf, block: &mut Block<F>) {
        if let Read::Float(from) = &self.operands[leaf.operand] {
            let value = self.part(from)[0];
            if block.floats(leaf.node)[0].to_double().to_bits() != value.to_double().to_bits() {
                block.set(leaf.node, value);
            }
        } else {
            self.load(leaf, block, 0..BLOCK, &walk.first(), &Outputs::default());
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
        let (elements, at) = match &self.operands[leaf.operand] {
            Read::Float(from) => (self.part(from), line.at(view)),
            Read::Output(output) => {
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
        match &self.operands[operand] {
            Read::Float(from) => copy(self.part(from), at, stride, &mut block.floats_mut(node)[to]),
            Read::Output(output) => {
                // An output read in place has the operand's strides.
                let (first, elements) = &outputs.0[*output];
                let at = line.at(line.outputs + output) - first;
                copy(elements, at, stride, &mut block.floats_mut(node)[to]);
            }
            Read::Whole(from) => {
                let (mut at, elements) = (at, self.part(from));
                for whole in &mut block.wholes_mut(node)[to] {
                    *whole = elements[at].to_whole();
                    at += stride;
                }
            }
            Read::Position => {
                let mut at = at as u32;
                for whole in &mut block.wholes_mut(node)[to] {
                    *whole = at;
                    at = at.wrapping_add(stride as u32);
                }
            }
            Read::Random(stream) => {
                let stream = &self.streams[*stream];
                let to = &mut block.wholes_mut(node)[to];
                if stride == 1 {
                    stream.words(at, to);
                } else {
                    for (index, word) in to.iter_mut().enumerate() {
                        stream.words(at + index * stride, std::slice::from_mut(word));
                    }
                }
            }
            Read::Gather {
                table,
                index,
                shift,
                stride: step,
                len,
            } => {
                let (table, index) = (self.part(table), self.part(index));
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

fn part<'r, F>(tensors: &'r [Reading<'_, F>], Extent { tensor, range }: &Extent) -> &'r [F] {
    &tensors[*tensor][range.clone()]
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
