//! A layer's time in segments: with a memory budget the forward pass keeps the states at their boundaries only, and the backward pass
//! computes a segment's steps once more before it goes back through them.

use super::{Forward, Saved};
use crate::program::{Gemm, Map, Program, RecurrentForward, RecurrentShape, Segment, Slice};

/// Some of a layer's steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeSegment {
    pub(super) index: usize,
    /// The steps of each direction that come before.
    pub(super) first: usize,
    pub(super) steps: usize,
    /// Whether no segment comes after, so that the backward pass starts with it.
    pub(super) is_last: bool,
}

impl TimeSegment {
    /// All T steps, at most `most` in a segment.
    pub(super) fn all(steps: usize, most: Option<usize>) -> Vec<Self> {
        let most = most.unwrap_or(steps);
        (0..steps)
            .step_by(most)
            .enumerate()
            .map(|(index, first)| Self {
                index,
                first,
                steps: most.min(steps - first),
                is_last: first + most >= steps,
            })
            .collect()
    }

    /// Where it is in a sequence.
    pub(super) fn place(&self, whole: &RecurrentShape) -> Segment {
        Segment {
            first: self.first,
            total: whole.steps,
        }
    }

    /// Its sizes in a layer.
    pub(super) fn shape(&self, whole: &RecurrentShape) -> RecurrentShape {
        RecurrentShape {
            steps: self.steps,
            ..*whole
        }
    }
}

/// The states between segments. Every second is in the same tensor, as an operation cannot read and write one.
#[derive(Clone, Copy)]
pub(super) struct Boundaries {
    tensors: [Option<Slice>; 2],
    len: usize,
}

impl Boundaries {
    /// For so many segments; `len`: the elements of all states.
    pub(super) fn new(program: &mut Program, segments: usize, len: usize) -> Self {
        let tensors = [segments / 2, (segments - 1) / 2]
            .map(|count| (count > 0).then(|| program.temporary("states between", &[count * len])));
        Self { tensors, len }
    }

    /// The states after the segment of this index.
    fn after(&self, index: usize) -> Option<Slice> {
        let all = self.tensors[index % 2];
        all.map(|all| all.part(index / 2 * self.len, self.len))
    }
}

impl Forward {
    pub(super) fn is_whole(&self) -> bool {
        self.segments.len() == 1
    }

    /// Whether a segment's steps of y `[T, B, D, P]` are the same ones for all directions.
    pub(super) fn is_direct(&self) -> bool {
        self.is_whole() || self.layer.of.shape.directions == 1
    }

    /// Elements of y, or of its gradient, of a segment, where it is direct.
    pub(super) fn direct(&self, segment: &TimeSegment, of: Slice) -> Slice {
        let step = of.len / self.layer.of.shape.steps;
        of.part(segment.first * step, segment.steps * step)
    }

    /// Writes the forward pass of a segment: for the first time, or again, for the backward pass. `keep`: whether the backward pass
    /// follows.
    pub(super) fn steps(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        (again, keep): (bool, bool),
    ) -> Option<Saved> {
        let layer = &self.layer;
        let shape = segment.shape(layer.shape());
        let (products, x_gates) = self.input_gates(program, segment);
        let y = match self.is_direct() {
            true => self.direct(segment, layer.y),
            false => program.temporary("y of a segment", &[shape.rows() * shape.output]),
        };
        let (saved, inner) = self.room(program, &shape, keep);
        program.push(RecurrentForward {
            cell: layer.of.cell.clone(),
            shape,
            segment: segment.place(layer.shape()),
            products,
            x_gates,
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            lengths: layer.lengths,
            initial: match segment.index.checked_sub(1) {
                Some(before) => self.boundaries.after(before),
                None => layer.initial,
            },
            last: match segment.is_last {
                true => layer.last,
                false => self.boundaries.after(segment.index).unwrap_or(layer.last),
            },
            y,
            inner,
            saved,
        });
        if !self.is_direct() && !again {
            for direction in 0..shape.directions {
                let all = layer.columns(layer.y, shape.output, direction);
                let from = layer.columns(y, shape.output, direction);
                let to = layer.rows(segment, direction, all);
                program.push(Map::copy(&[to.rows, to.columns], from.view(), to.view()));
            }
        }
        saved.map(|saved| Saved { saved, inner })
    }

    /// W x + b_ih of a segment's steps, `[T, B, D, G·H]`: the products, and where their results are.
    fn input_gates(&self, program: &mut Program, segment: &TimeSegment) -> (Vec<Gemm>, Slice) {
        let layer = &self.layer;
        let width = layer.gate_width();
        let RecurrentShape {
            batch, directions, ..
        } = *layer.shape();
        let shape = [segment.steps, batch, directions * width];
        let x_gates = program.temporary("x_gates", &shape);
        let mut products = vec![];
        for (direction, weights) in layer.weights.iter().enumerate() {
            let input = layer.rows(segment, direction, layer.x);
            let output = layer.columns(x_gates, width, direction);
            match weights.weight_ih {
                Some(weight) => {
                    let weight = weight.matrix(width, layer.x.columns);
                    let product = Gemm::new(input, weight, output).transpose_b();
                    products.push(product.bias(weights.bias_ih).weights());
                }
                None => program.push(Map::repeat(input, weights.bias_ih, output)),
            }
        }
        (products, x_gates)
    }

    /// Room for what the backward pass needs of the cell, and what late gates or a projection take: one tensor.
    fn room(
        &self,
        program: &mut Program,
        shape: &RecurrentShape,
        keep: bool,
    ) -> (Option<Slice>, Option<Slice>) {
        let cell = &self.layer.of.cell;
        let saved_len = match keep {
            true => shape.rows() * shape.hidden * cell.saved(),
            false => 0,
        };
        let projected = self.weights.weight_hr.is_some();
        let inner_len = RecurrentForward::inner_len(cell, shape, projected);
        if saved_len + inner_len == 0 {
            return (None, None);
        }
        let room = program.temporary("saved", &[saved_len + inner_len]);
        (
            (saved_len > 0).then(|| room.part(0, saved_len)),
            (inner_len > 0).then(|| room.part(saved_len, inner_len)),
        )
    }
}
