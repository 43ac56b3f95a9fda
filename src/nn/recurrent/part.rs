//! A layer's time in parts: with a memory budget the forward pass keeps the states at the parts' boundaries only, and the backward pass
//! computes a part's steps once more before it goes back through them.

use super::layer::{Kept, Trace};
use crate::program::{Gemm, Program, RecurrentForward, RecurrentShape, Repeat, Segment, Slice};

/// Some of a layer's steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) index: usize,
    /// The steps of each direction that come before.
    pub(super) first: usize,
    pub(super) steps: usize,
    /// Whether no part comes after, so that the backward pass starts with it.
    pub(super) is_last: bool,
}

impl Part {
    /// All T steps, `most` in a part.
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
    pub(super) fn segment(&self, whole: &RecurrentShape) -> Segment {
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

/// The states between parts. Every second is in the same tensor, as an operation cannot read and write one.
#[derive(Clone, Copy)]
pub(super) struct Boundaries {
    tensors: [Option<Slice>; 2],
    len: usize,
}

impl Boundaries {
    /// For so many parts; `len`: the elements of all states.
    pub(super) fn new(program: &mut Program, parts: usize, len: usize) -> Self {
        let tensors = [parts / 2, (parts - 1) / 2]
            .map(|count| (count > 0).then(|| program.temporary("states between", &[count * len])));
        Self { tensors, len }
    }

    /// The states after the part of this index.
    fn after(&self, index: usize) -> Option<Slice> {
        let all = self.tensors[index % 2];
        all.map(|all| all.part(index / 2 * self.len, self.len))
    }
}

impl Trace {
    pub(super) fn is_whole(&self) -> bool {
        self.parts.len() == 1
    }

    /// Whether a part's steps of y `[T, B, D, P]` are the same ones for all directions.
    pub(super) fn is_direct(&self) -> bool {
        self.is_whole() || self.layer.shape.directions == 1
    }

    /// Elements of y, or of its gradient, of a part, where it is direct.
    pub(super) fn direct(&self, part: &Part, of: Slice) -> Slice {
        let step = of.len / self.layer.shape.steps;
        of.part(part.first * step, part.steps * step)
    }

    /// Writes the forward pass of a part: for the first time, or again, for the backward pass. `keep`: whether the backward pass
    /// follows.
    pub(super) fn forward(
        &self,
        program: &mut Program,
        part: &Part,
        (again, keep): (bool, bool),
    ) -> Option<Kept> {
        let layer = &self.layer;
        let shape = part.shape(&layer.shape);
        let x_gates = self.input_gates(program, part);
        let y = match self.is_direct() {
            true => self.direct(part, layer.y.slice),
            false => program.temporary("y of a part", &[shape.rows() * shape.output]),
        };
        let (saved, inner) = self.room(program, &shape, keep);
        program.push(RecurrentForward {
            cell: layer.cell.clone(),
            shape,
            segment: part.segment(&layer.shape),
            x_gates,
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            lengths: layer.mode.lengths,
            initial: match part.index.checked_sub(1) {
                Some(before) => self.boundaries.after(before),
                None => layer.initial,
            },
            last: match part.is_last {
                true => layer.last,
                false => self.boundaries.after(part.index).unwrap_or(layer.last),
            },
            y,
            inner,
            saved,
        });
        if !self.is_direct() && !again {
            for direction in 0..shape.directions {
                let all = layer.columns(layer.y.slice, shape.output, direction);
                program.push(Repeat {
                    input: layer.columns(y, shape.output, direction),
                    bias: None,
                    output: layer.rows(part, direction, all),
                });
            }
        }
        saved.map(|saved| Kept { saved, inner })
    }

    /// W x + b_ih of a part's steps, `[T, B, D, G·H]`.
    fn input_gates(&self, program: &mut Program, part: &Part) -> Slice {
        let layer = &self.layer;
        let width = layer.gate_width();
        let RecurrentShape {
            batch, directions, ..
        } = layer.shape;
        let x_gates = program.temporary("x_gates", &[part.steps, batch, directions * width]);
        for (direction, weights) in layer.weights.iter().enumerate() {
            let input = layer.rows(part, direction, layer.x.matrix());
            let output = layer.columns(x_gates, width, direction);
            let bias = weights.bias_ih.map(|bias| bias.value);
            match weights.weight_ih {
                Some(weight) => {
                    let weight = weight.value.matrix(width, layer.x.features());
                    let product = Gemm::new(input, weight, output);
                    program.push(product.transpose_b().bias(bias).weights());
                }
                None => program.push(Repeat {
                    input,
                    bias,
                    output,
                }),
            }
        }
        x_gates
    }

    /// Room for what the backward pass needs of the cell, and what late gates or a projection take: one tensor.
    fn room(
        &self,
        program: &mut Program,
        shape: &RecurrentShape,
        keep: bool,
    ) -> (Option<Slice>, Option<Slice>) {
        let cell = &self.layer.cell;
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
