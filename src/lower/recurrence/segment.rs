//! A layer's time in segments: with a memory budget the forward pass keeps the states at their boundaries only, and the backward pass
//! computes a segment's steps once more before it goes back through them.

use super::{Forward, Saved};
use crate::program::{
    Gemm, Map, Matrix, Program, RecurrentForward, RecurrentShape, Segment, Slice,
};

/// Some of a layer's steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeSegment {
    pub(super) index: usize,
    /// The layer's sizes, T being that of the segment.
    pub(super) shape: RecurrentShape,
    /// Where it is in the sequence.
    pub(super) place: Segment,
}

impl TimeSegment {
    /// All T steps of a layer, at most `most` in a segment.
    pub(super) fn all(whole: &RecurrentShape, most: Option<usize>) -> Vec<Self> {
        let total = whole.steps;
        let most = most.unwrap_or(total);
        let segment = |(index, first)| Self {
            index,
            shape: RecurrentShape {
                steps: most.min(total - first),
                ..*whole
            },
            place: Segment { first, total },
        };
        (0..total).step_by(most).enumerate().map(segment).collect()
    }

    /// Whether no segment comes after, so that the backward pass starts with it.
    pub(super) fn is_last(&self) -> bool {
        self.place.first + self.shape.steps == self.place.total
    }

    /// What belongs to a direction.
    pub(super) fn of(self, direction: usize) -> Part {
        let segment = self;
        Part { segment, direction }
    }
}

/// A direction's steps of a segment.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) segment: TimeSegment,
    pub(super) direction: usize,
}

impl Part {
    /// The place in time of the earliest step.
    pub(super) fn start(&self) -> usize {
        let TimeSegment { shape, place, .. } = self.segment;
        place.start(shape.steps, self.direction)
    }

    /// The segment's rows of `[T·B, ·]`, T being that of the whole sequence.
    pub(super) fn rows(&self, of: Matrix) -> Matrix {
        let shape = self.segment.shape;
        of.rows(self.start() * shape.batch, shape.steps * shape.batch)
    }

    /// The direction's columns of `[rows, D·width]`.
    pub(super) fn columns(&self, of: Slice, width: usize) -> Matrix {
        let all = self.segment.shape.directions * width;
        let matrix = of.matrix(of.len / all, all);
        matrix.columns(self.direction * width, width)
    }
}

impl Forward {
    /// Whether a segment's steps of y `[T, B, D, P]` are the same ones for all directions.
    pub(super) fn is_direct(&self) -> bool {
        self.segments.len() == 1 || self.layer.of.shape.directions == 1
    }

    /// A segment's elements of y, or of its gradient: where they lie among all, if that is in one piece, else room for them.
    pub(super) fn y_of(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        all: Slice,
        name: &str,
    ) -> Slice {
        let TimeSegment { shape, place, .. } = segment;
        let step = all.len / place.total;
        match self.is_direct() {
            true => all.part(place.first * step, shape.steps * step),
            false => program.temporary(name, &[shape.rows() * shape.output]),
        }
    }

    /// For each direction a segment's rows of y, or of its gradient, among those of all steps and among its own, unless these are the
    /// same.
    pub(super) fn y_rows(&self, segment: &TimeSegment, all: Slice, own: Slice) -> Vec<[Matrix; 2]> {
        let shape = segment.shape;
        let rows = |direction| {
            let part = segment.of(direction);
            let [all, own] = [all, own].map(|of| part.columns(of, shape.output));
            [part.rows(all), own]
        };
        let directions = 0..shape.directions;
        let apart = directions.filter(|_| !self.is_direct());
        apart.map(rows).collect()
    }

    /// The states after the segment of this index; every second is in the same tensor, as an operation cannot read and write one.
    fn states_after(&self, index: usize) -> Option<Slice> {
        let len = self.layer.last.len;
        self.between[index % 2].map(|all| all.part(index / 2 * len, len))
    }

    /// Writes the forward pass of a segment, and returns its y `[T, B, D, P]` with what the backward pass needs, if that follows
    /// (`keep`).
    pub(super) fn steps(
        &self,
        program: &mut Program,
        segment: &TimeSegment,
        keep: bool,
    ) -> (Slice, Option<Saved>) {
        let layer = &self.layer;
        let (products, x_gates) = self.input_gates(program, segment);
        let y = self.y_of(program, segment, layer.y, "y of a segment");
        let (saved, inner) = self.room(program, &segment.shape, keep);
        program.push(RecurrentForward {
            cell: layer.of.cell.clone(),
            shape: segment.shape,
            segment: segment.place,
            products,
            x_gates,
            weights: self.weights,
            mask: self.mask,
            zoneout: self.zoneout,
            lengths: layer.lengths,
            initial: match segment.index.checked_sub(1) {
                Some(before) => self.states_after(before),
                None => layer.initial,
            },
            last: match segment.is_last() {
                true => layer.last,
                false => self.states_after(segment.index).unwrap_or(layer.last),
            },
            y,
            inner,
            saved,
        });
        (y, saved.map(|saved| Saved { saved, inner }))
    }

    /// W x + b_ih of a segment's steps, `[T, B, D, G·H]`: the products, and where their results are.
    fn input_gates(&self, program: &mut Program, segment: &TimeSegment) -> (Vec<Gemm>, Slice) {
        let layer = &self.layer;
        let (shape, width) = (segment.shape, layer.gate_width());
        let sizes = [shape.steps, shape.batch, shape.directions * width];
        let x_gates = program.temporary("x_gates", &sizes);
        let mut products = vec![];
        for (direction, weights) in layer.weights.iter().enumerate() {
            let part = segment.of(direction);
            let (input, output) = (part.rows(layer.x), part.columns(x_gates, width));
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
        let saved = usize::from(keep) * shape.rows() * shape.hidden * cell.saved();
        let projected = self.weights.weight_hr.is_some();
        let inner = RecurrentForward::inner_len(cell, shape, projected);
        let len = saved + inner;
        let room = (len > 0).then(|| program.temporary("saved", &[len]));
        let part = |first, len| room.filter(|_| len > 0).map(|room| room.part(first, len));
        (part(0, saved), part(saved, inner))
    }
}
