//! What the two directions of time share: the layer's numbers, products by gate.

use super::memory::{Memory, Reading};
use super::recurrent_choice::{Share, Way};
use super::zoneout::ZoneoutMask;
use crate::CellRef;
use crate::panels::{Panels, Start};
use crate::program::{Matrix, RecurrentOperands, RecurrentShape, Slice};
use crate::rows::RowScalar;
use crate::threads;
use ndarray::{
    Array2, ArrayView, ArrayView2, ArrayViewMut, ArrayViewMut3, ArrayViewMut4, Axis, Dimension,
    NewAxis, StrideShape, aview1, s,
};
use std::ops::Range;
use std::sync::Arc;

pub(super) const CONTIGUOUS: &str = "rows are contiguous";

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

/// How the rows of a layer's directions are split over threads.
pub(super) struct Tasks {
    directions: usize,
    /// Rows of a task, but for the last of a direction.
    pub(super) rows: usize,
    /// The rows of each task of a direction.
    chunks: Vec<Range<usize>>,
    /// Threads that share the products of a task.
    pub(super) team: usize,
    /// Threads that tasks are shared out to.
    threads: usize,
}

impl Tasks {
    /// The split of a layer's rows.
    pub(super) fn new(shape: &RecurrentShape, way: Way) -> Self {
        let RecurrentShape {
            batch, directions, ..
        } = *shape;
        let (rows, team) = match way.share {
            Share::Rows => {
                let tasks = way.threads.min(directions * batch);
                (batch.div_ceil(tasks.div_ceil(directions)), 1)
            }
            Share::Columns => (batch, (way.threads / directions).max(1)),
        };
        let chunk = |first: usize| first..(first + rows).min(batch);
        let chunks = (0..batch).step_by(rows).map(chunk).collect();
        Self {
            directions,
            rows,
            chunks,
            team,
            threads: way.threads,
        }
    }

    /// Runs a function over something of every task.
    pub(super) fn for_each<T>(
        &self,
        tasks: impl ExactSizeIterator<Item = T> + Send,
        run: impl Fn(T) + Sync,
    ) {
        if self.threads > 1 {
            threads::for_each(tasks, run);
        } else {
            tasks.for_each(run);
        }
    }

    /// Direction and rows of every task.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, &Range<usize>)> {
        (0..self.directions)
            .flat_map(|direction| self.chunks.iter().map(move |rows| (direction, rows)))
    }

    /// Cuts a tensor, where there is one, into the parts of every task. `rows`: the axis of rows in a
    /// direction's part.
    pub(super) fn cut<'a, F>(
        &self,
        whole: Option<&'a mut ArrayViewMut4<'_, F>>,
        directions: Axis,
        rows: Axis,
    ) -> impl Iterator<Item = Option<ArrayViewMut3<'a, F>>> {
        let mut parts = vec![];
        for mut rest in whole
            .into_iter()
            .flat_map(|whole| whole.axis_iter_mut(directions))
        {
            while rest.len_of(rows) > self.rows {
                let (part, after) = rest.split_at(rows, self.rows);
                parts.push(Some(part));
                rest = after;
            }
            parts.push(Some(rest));
        }
        parts.into_iter().chain(std::iter::repeat_with(|| None))
    }
}

/// One direction of a layer.
pub(super) struct LayerDirection<'a, F> {
    pub(super) cell: &'a CellRef,
    pub(super) shape: RecurrentShape,
    pub(super) direction: usize,
    /// R
    pub(super) weight_hh: Matrix,
    /// `[B, G, P]`
    mask: Option<Slice>,
    /// The projection: forward `[H, P]`, backward `[P, H]`.
    pub(super) projection: Option<Arc<Panels<F>>>,
    /// `[V·H]`
    pub(super) diagonal: Vec<F>,
    pub(super) zoneout: Option<ZoneoutMask>,
    /// The steps of the segment that each row has.
    pub(super) lengths: Vec<usize>,
}

impl<'a, F: RowScalar> LayerDirection<'a, F> {
    /// `pack` packs a matrix for the products of the pass.
    pub(super) fn new(
        layer: &RecurrentOperands<'a>,
        direction: usize,
        memory: &Memory<'_, F>,
        pack: impl Fn(Matrix) -> Arc<Panels<F>>,
    ) -> Self {
        let RecurrentOperands {
            cell,
            shape,
            segment,
            weights,
            ..
        } = *layer;
        let gate_width = cell.gates() * shape.hidden;
        let start = segment.start(shape.steps, direction);
        let own = |length: usize| length.saturating_sub(start).min(shape.steps);
        let lengths = layer.lengths.map(|lengths| memory.wholes(lengths));
        let lengths = lengths.unwrap_or_else(|| vec![start + shape.steps; shape.batch]);
        let mask = shape.batch * cell.gates() * shape.output;
        let diagonal = weights
            .weight_diag
            .map(|weight| memory.read(weight.of(direction)).to_vec());
        let projection = weights.weight_hr.map(|weight| weight.of(direction));
        Self {
            cell,
            shape,
            direction,
            weight_hh: weights
                .weight_hh
                .of(direction)
                .matrix(gate_width, shape.output),
            mask: layer.mask.map(|masks| masks.part(direction * mask, mask)),
            projection: projection.map(|weight| pack(weight.matrix(shape.output, shape.hidden))),
            diagonal: diagonal.unwrap_or_default(),
            zoneout: ZoneoutMask::new(layer.zoneout, &shape, segment, memory),
            lengths: lengths.into_iter().map(own).collect(),
        }
    }

    /// The place in time of the n-th step.
    pub(super) fn time(&self, step: usize) -> usize {
        if self.direction == 1 {
            self.shape.steps - 1 - step
        } else {
            step
        }
    }
}

/// The recurrent products of one direction, by groups of gates that take the same input.
pub(super) struct GateProducts<'a, F> {
    hidden: usize,
    gates: usize,
    /// Gates, and their weights.
    groups: Vec<(Range<usize>, Arc<Panels<F>>)>,
    /// `[B, G, P]`: then every gate is a group.
    mask: Option<Reading<'a, F>>,
    /// Room for a product's input and for its output.
    input_width: usize,
    output_width: usize,
}

/// What [`GateProducts`] works in.
pub(super) struct Scratch<F> {
    masked: Array2<F>,
    /// `[b, output_width]`
    product: Array2<F>,
}

impl<'a, F: RowScalar> GateProducts<'a, F> {
    /// `pack` packs some rows of R, once for all steps.
    pub(super) fn new(
        layer: &LayerDirection<'_, F>,
        memory: &'a Memory<'_, F>,
        pack: impl Fn(Matrix) -> Arc<Panels<F>>,
    ) -> Self {
        let (early, gates) = (layer.cell.early_gates(), layer.cell.gates());
        let (hidden, weight_hh) = (layer.shape.hidden, layer.weight_hh);
        let ranges: Vec<Range<usize>> = match layer.mask {
            Some(_) => (0..gates).map(|gate| gate..gate + 1).collect(),
            None => [0..early, early..gates]
                .into_iter()
                .filter(|gates| !gates.is_empty())
                .collect(),
        };
        let group = |gates: Range<usize>| {
            let rows = weight_hh.rows(gates.start * hidden, gates.len() * hidden);
            (gates, pack(rows))
        };
        let groups: Vec<_> = ranges.into_iter().map(group).collect();
        let output_width = groups.iter().map(|(_, panels)| panels.width()).max();
        let output_width = output_width.unwrap_or(0);
        Self {
            hidden,
            gates,
            groups,
            mask: layer.mask.map(|mask| memory.read(mask)),
            input_width: weight_hh.columns,
            output_width,
        }
    }

    /// What the input of a gate is multiplied by, `[b, P]`.
    fn mask(&self, rows: &Range<usize>, gate: usize) -> Option<ArrayView2<'_, F>> {
        let mask = self.mask.as_ref()?;
        let row = self.gates * self.input_width;
        let mask = view(
            &mask[rows.start * row..rows.end * row],
            (rows.len(), self.gates, self.input_width),
        );
        Some(mask.index_axis_move(Axis(1), gate))
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
        self.output_width.max(self.gates * self.hidden)
    }

    /// The weights, where one product gives all gates.
    pub(super) fn one(&self) -> Option<&Panels<F>> {
        match &self.groups[..] {
            [(_, panels)] if self.mask.is_none() => Some(panels),
            _ => None,
        }
    }

    /// The weights, where one product gives these gates and its result is as wide as the output: it
    /// then needs no scratch.
    fn whole(&self, gates: &Range<usize>, width: usize) -> Option<&Panels<F>> {
        let fits = *gates == (0..self.gates);
        self.one().filter(|panels| fits && panels.width() == width)
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
        if let Some(panels) = self.whole(&early, r.ncols()) {
            return panels.product_to(h_before, Start::Row(bias), r);
        }
        r.assign(&aview1(bias));
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
            let input = match self.mask(rows, group.start) {
                None => input,
                Some(mask) => {
                    scratch.masked.assign(&input);
                    scratch.masked *= &mask;
                    scratch.masked.view()
                }
            };
            panels.product_to(input, Start::Zero, &mut scratch.product);
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
            let d_r = d_r.slice(s![.., columns]);
            let width = self.input_width;
            let Some(mask) = self.mask(rows, group.start) else {
                // Added to what is there, as above, so that the bits do not depend on the width.
                let sums = scratch.product.rows_mut();
                for (mut sums, to) in sums.into_iter().zip(d_input.chunks(stride)) {
                    sums.slice_mut(s![..width]).assign(&aview1(&to[..width]));
                }
                panels.product_to(d_r, Start::Sum, &mut scratch.product);
                for (to, sums) in d_input.chunks_mut(stride).zip(scratch.product.rows()) {
                    to.iter_mut()
                        .zip(sums.slice(s![..width]))
                        .for_each(|(to, sum)| *to = *sum);
                }
                continue;
            };
            panels.product_to(d_r, Start::Zero, &mut scratch.product);
            let mut product = scratch.product.slice_mut(s![.., ..width]);
            product *= &mask;
            for (to, product) in d_input.chunks_mut(stride).zip(product.rows()) {
                to.iter_mut().zip(product).for_each(|(to, d)| *to += *d);
            }
        }
    }
}
