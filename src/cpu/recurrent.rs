//! What the two directions of time share: the layer's numbers, products by gate.

use super::zoneout::ZoneoutMask;
use super::{Memory, team};
use crate::CellRef;
use crate::panels::{Panels, Start};
use crate::program::{Matrix, RecurrentShape, Segment, Slice};
use crate::rows::RowScalar;
use crate::threads;
use ndarray::{
    Array2, ArrayView, ArrayView2, ArrayView3, ArrayViewMut, ArrayViewMut3, Axis, Dimension,
    NewAxis, StrideShape, s,
};
use std::ops::Range;
use std::sync::Arc;

pub(super) const CONTIGUOUS: &str = "rows are contiguous";

/// The steps of a segment that each row has, all of them where no lengths are given.
pub(super) fn lengths<F: RowScalar>(
    memory: &Memory<'_, F>,
    lengths: Option<Slice>,
    shape: &RecurrentShape,
    (segment, direction): (Segment, usize),
) -> Vec<usize> {
    let start = segment.start(shape.steps, direction);
    lengths.map_or_else(
        || vec![shape.steps; shape.batch],
        |lengths| {
            let own = |length: usize| length.saturating_sub(start).min(shape.steps);
            memory.wholes(lengths).into_iter().map(own).collect()
        },
    )
}

/// The place in time of a direction's n-th step.
pub(super) fn time_of(step: usize, steps: usize, reverse: bool) -> usize {
    if reverse { steps - 1 - step } else { step }
}

/// Elements as an array.
pub(super) fn view<F, D: Dimension>(
    elements: &[F],
    shape: impl Into<StrideShape<D>>,
) -> ArrayView<'_, F, D> {
    ArrayView::from_shape(shape, elements).expect("the program was checked")
}

/// Elements as an array, for writing.
pub(super) fn view_mut<F, D: Dimension>(
    elements: &mut [F],
    shape: impl Into<StrideShape<D>>,
) -> ArrayViewMut<'_, F, D> {
    ArrayViewMut::from_shape(shape, elements).expect("the program was checked")
}

/// What a gate of a cell takes of a thread's time, as so many operations of a product.
const CELL: usize = 64;

/// How the rows of a layer's directions are split over threads.
pub(super) struct Tasks {
    /// Rows of a task, but for the last of a direction.
    pub(super) rows: usize,
    /// The rows of each task of a direction.
    pub(super) chunks: Vec<Range<usize>>,
    /// The work of all tasks, in floating-point operations.
    pub(super) work: usize,
    /// Threads that share the products of a task.
    pub(super) team: usize,
}

impl Tasks {
    /// The split of a layer's rows; `one`: whether one product gives all gates
    /// ([`GateProducts::one`]), so that threads can share it.
    pub(super) fn of<F>(shape: &RecurrentShape, gate_width: usize, one: bool) -> Self {
        let (batch, directions) = (shape.batch, shape.directions);
        let work = shape.rows() * gate_width * (2 * shape.output + CELL);
        let tasks = threads::split(work, directions * batch);
        let threads = threads::split(work, usize::MAX) / directions;
        let matrix = [shape.output, gate_width];
        let team = match one {
            true => team::size::<F>(matrix, batch, shape.steps, threads),
            false => 1,
        };
        let rows = match team {
            1 => batch.div_ceil(tasks.div_ceil(directions)),
            _ => batch,
        };
        Self {
            rows,
            chunks: (0..batch)
                .step_by(rows)
                .map(|first| first..(first + rows).min(batch))
                .collect(),
            work,
            team,
        }
    }
}

/// Cuts an array into parts of some rows each, of which the last takes the rest.
pub(super) fn parts<F>(
    mut whole: ArrayViewMut3<'_, F>,
    axis: Axis,
    rows: usize,
) -> impl Iterator<Item = ArrayViewMut3<'_, F>> {
    let mut parts = vec![];
    while whole.len_of(axis) > rows {
        let (part, rest) = whole.split_at(axis, rows);
        parts.push(part);
        whole = rest;
    }
    parts.push(whole);
    parts.into_iter()
}

/// One direction of a layer.
pub(super) struct LayerDirection<'a, F> {
    pub(super) cell: &'a CellRef,
    pub(super) shape: RecurrentShape,
    pub(super) direction: usize,
    /// The projection: forward `[H, P]`, backward `[P, H]`.
    pub(super) projection: Option<Arc<Panels<F>>>,
    /// `[V·H]`
    pub(super) diagonal: &'a [F],
    pub(super) zoneout: Option<ZoneoutMask>,
    /// `[B]`
    pub(super) lengths: &'a [usize],
}

impl<F: RowScalar> LayerDirection<'_, F> {
    pub(super) fn time(&self, step: usize) -> usize {
        time_of(step, self.shape.steps, self.direction == 1)
    }
}

/// The recurrent products of one direction, by groups of gates that take the same input.
pub(super) struct GateProducts<'a, F> {
    hidden: usize,
    /// Gates, and their weights.
    groups: Vec<(Range<usize>, Arc<Panels<F>>)>,
    /// `[B, G, P]`: then every gate is a group.
    mask: Option<ArrayView3<'a, F>>,
    /// Room for a product's input and for its output.
    input_width: usize,
    output_width: usize,
    /// Zeros, as wide as any product.
    zeros: Vec<F>,
}

/// What [`GateProducts`] works in.
pub(super) struct Scratch<F> {
    masked: Array2<F>,
    /// `[b, output_width]`
    product: Array2<F>,
}

impl<'a, F: RowScalar> GateProducts<'a, F> {
    /// weight_hh: `[G·H, P]`; `pack` packs some of its rows, once for all steps.
    pub(super) fn new(
        cell: &CellRef,
        hidden: usize,
        weight_hh: Matrix,
        mask: Option<ArrayView3<'a, F>>,
        pack: impl Fn(Matrix) -> Arc<Panels<F>>,
    ) -> Self {
        let (early, gates) = (cell.early_gates(), cell.gates());
        let ranges: Vec<Range<usize>> = match mask {
            Some(_) => (0..gates).map(|gate| gate..gate + 1).collect(),
            None => [0..early, early..gates]
                .into_iter()
                .filter(|gates| !gates.is_empty())
                .collect(),
        };
        let groups: Vec<_> = ranges
            .into_iter()
            .map(|gates| {
                let rows = weight_hh.rows(gates.start * hidden, gates.len() * hidden);
                (gates, pack(rows))
            })
            .collect();
        let output_width = groups.iter().map(|(_, panels)| panels.width()).max();
        let output_width = output_width.unwrap_or(0);
        Self {
            hidden,
            groups,
            mask,
            input_width: weight_hh.columns,
            output_width,
            zeros: vec![F::zero(); output_width],
        }
    }

    pub(super) fn scratch(&self, rows: usize) -> Scratch<F> {
        let masked = if self.mask.is_some() { rows } else { 0 };
        Scratch {
            masked: Array2::zeros((masked, self.input_width)),
            product: Array2::zeros((rows, self.output_width)),
        }
    }

    /// The columns that r must have at least.
    pub(super) fn width(&self) -> usize {
        let gates = self.groups.last().map_or(0, |(gates, _)| gates.end);
        self.output_width.max(gates * self.hidden)
    }

    /// The weights, where one product gives all gates.
    pub(super) fn one(&self) -> Option<&Panels<F>> {
        match &self.groups[..] {
            [(_, panels)] if self.mask.is_none() => Some(panels),
            _ => None,
        }
    }

    /// The weights, where one product gives all gates and its result is as wide as the output: it
    /// then needs no scratch.
    fn whole(&self, gates: &Range<usize>, width: usize) -> Option<&Panels<F>> {
        match &self.groups[..] {
            [(all, panels)] if all == gates && self.mask.is_none() && panels.width() == width => {
                Some(panels)
            }
            _ => None,
        }
    }

    fn groups(
        &self,
        gates: &Range<usize>,
    ) -> impl Iterator<Item = &(Range<usize>, Arc<Panels<F>>)> {
        let gates = gates.clone();
        self.groups
            .iter()
            .filter(move |(group, _)| group.start >= gates.start && group.end <= gates.end)
    }

    /// r `[b, width]` = bias `[width]`, and for each of the early gates + (h₋ `[b, P]` ⊙ m_g) R_gᵀ.
    pub(super) fn begin(
        &self,
        rows: &Range<usize>,
        early: Range<usize>,
        (h_before, bias): (ArrayView2<'_, F>, &[F]),
        r: &mut Array2<F>,
        scratch: &mut Scratch<F>,
    ) {
        let width = r.ncols();
        let slice = r.as_slice_mut().expect(CONTIGUOUS);
        if let Some(panels) = self.whole(&early, width) {
            let h_before = h_before.insert_axis(Axis(0));
            return panels.product(h_before, Start::Row(bias), slice, width);
        }
        for row in slice.chunks_exact_mut(width) {
            row.copy_from_slice(bias);
        }
        self.add(rows, early, h_before, r, scratch);
    }

    /// r `[b, width]` += for each of the gates (input `[b, P]` ⊙ m_g) R_gᵀ.
    pub(super) fn add(
        &self,
        rows: &Range<usize>,
        gates: Range<usize>,
        input: ArrayView2<'_, F>,
        r: &mut Array2<F>,
        scratch: &mut Scratch<F>,
    ) {
        for (group, panels) in self.groups(&gates) {
            let input = match &self.mask {
                None => input,
                Some(mask) => {
                    scratch.masked.assign(&input);
                    scratch.masked *= &mask.slice(s![rows.clone(), group.start, ..]);
                    scratch.masked.view()
                }
            };
            self.product(panels, input, &mut scratch.product);
            let columns = group.start * self.hidden..group.end * self.hidden;
            let product = scratch.product.slice(s![.., ..columns.len()]);
            let mut r = r.slice_mut(s![.., columns]);
            r += &product;
        }
    }

    /// The opposite of [`add`](Self::add): d_input += for each of the gates m_g ⊙ (d_r_g R_g), with
    /// d_r `[b, G·H]` and d_input rows of P, one every `stride`.
    pub(super) fn add_back(
        &self,
        rows: &Range<usize>,
        gates: Range<usize>,
        d_r: ArrayView2<'_, F>,
        (d_input, stride): (&mut [F], usize),
        scratch: &mut Scratch<F>,
    ) {
        if let Some(panels) = self.whole(&gates, self.input_width) {
            let columns = gates.start * self.hidden..gates.end * self.hidden;
            let d_r = d_r.slice_move(s![NewAxis, .., columns]);
            return panels.product(d_r, Start::Sum, d_input, stride);
        }
        for (group, panels) in self.groups(&gates) {
            let columns = group.start * self.hidden..group.end * self.hidden;
            self.product(panels, d_r.slice(s![.., columns]), &mut scratch.product);
            let mut product = scratch.product.slice_mut(s![.., ..self.input_width]);
            if let Some(mask) = &self.mask {
                product *= &mask.slice(s![rows.clone(), group.start, ..]);
            }
            for (to, product) in d_input.chunks_mut(stride).zip(product.rows()) {
                to.iter_mut().zip(product).for_each(|(to, d)| *to += *d);
            }
        }
    }

    /// result `[b, output_width]` = input · weights, in its first columns.
    fn product(&self, panels: &Panels<F>, input: ArrayView2<'_, F>, result: &mut Array2<F>) {
        let (stride, result) = (result.ncols(), result.as_slice_mut().expect(CONTIGUOUS));
        let zeros = Start::Row(&self.zeros);
        panels.product(input.insert_axis(Axis(0)), zeros, result, stride);
    }
}
