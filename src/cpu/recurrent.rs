//! What the two directions of time share: the layer's numbers, its states by row, products by gate.

use super::Memory;
use super::panels::Panels;
use crate::Real;
use crate::cell::CellRef;
use crate::philox::{Stream, threshold};
use crate::program::{RecurrentShape, Segment, Slice, Zoneout};
use ndarray::{
    Array2, ArrayView, ArrayView2, ArrayView3, ArrayViewMut, ArrayViewMut2, Dimension, StrideShape,
    s,
};
use std::ops::Range;

pub(super) const CONTIGUOUS: &str = "rows are contiguous";

/// The steps of a segment that each row has, all of them where no lengths are given.
pub(super) fn lengths<F: Real>(
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
            memory.lengths(lengths).into_iter().map(own).collect()
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

/// One direction of a layer.
pub(super) struct Layer<'a, F> {
    pub(super) cell: &'a CellRef,
    pub(super) shape: RecurrentShape,
    pub(super) direction: usize,
    /// R: forward from h₋ (or v) to the gates, backward from the gates.
    pub(super) products: GateProducts<'a, F>,
    /// `[G·H]`
    pub(super) bias_hh: Option<&'a [F]>,
    /// The projection: forward `[H, P]`, backward `[P, H]`.
    pub(super) projection: Option<Panels<F>>,
    /// `[V·H]`
    pub(super) diagonal: &'a [F],
    pub(super) zoneout: Option<ZoneoutMask>,
    /// `[B]`
    pub(super) lengths: &'a [usize],
}

impl<F: Real> Layer<'_, F> {
    pub(super) fn time(&self, step: usize) -> usize {
        time_of(step, self.shape.steps, self.direction == 1)
    }
}

/// The recurrent products of one direction, by groups of gates that take the same input.
pub(super) struct GateProducts<'a, F> {
    hidden: usize,
    /// Gates, and their weights.
    groups: Vec<(Range<usize>, Panels<F>)>,
    /// `[B, G, P]`: then every gate is a group.
    mask: Option<ArrayView3<'a, F>>,
    /// Room for a product's input and for its output.
    input_width: usize,
    output_width: usize,
}

/// What [`GateProducts`] works in.
pub(super) struct Scratch<F> {
    masked: Array2<F>,
    product: Array2<F>,
    pub(super) packed: Vec<F>,
}

impl<'a, F: Real> GateProducts<'a, F> {
    /// weight_hh: `[G·H, P]`, packed once for all steps; `back` for the products with its transpose.
    pub(super) fn new(
        cell: &CellRef,
        hidden: usize,
        weight_hh: ArrayView2<'_, F>,
        mask: Option<ArrayView3<'a, F>>,
        back: bool,
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
                let rows = weight_hh.slice(s![gates.start * hidden..gates.end * hidden, ..]);
                let panels = Panels::new(if back { rows } else { rows.reversed_axes() });
                (gates, panels)
            })
            .collect();
        let output_width = groups.iter().map(|(_, panels)| panels.width()).max();
        Self {
            hidden,
            groups,
            mask,
            input_width: weight_hh.ncols(),
            output_width: output_width.unwrap_or(0),
        }
    }

    pub(super) fn scratch(&self, rows: usize) -> Scratch<F> {
        Scratch {
            masked: Array2::zeros((rows, self.input_width)),
            product: Array2::zeros((rows, self.output_width)),
            packed: vec![],
        }
    }

    /// The columns that [`GateProducts::add`]'s output must have at least.
    pub(super) fn width(&self) -> usize {
        let gates = self.groups.last().map_or(0, |(gates, _)| gates.end);
        self.output_width.max(gates * self.hidden)
    }

    fn groups(&self, gates: &Range<usize>) -> impl Iterator<Item = &(Range<usize>, Panels<F>)> {
        let gates = gates.clone();
        self.groups
            .iter()
            .filter(move |(group, _)| group.start >= gates.start && group.end <= gates.end)
    }

    /// output `[b, G·H …]` += for each of the gates (input `[b, P]` ⊙ m_g) R_gᵀ.
    pub(super) fn add(
        &self,
        rows: &Range<usize>,
        gates: Range<usize>,
        input: ArrayView2<'_, F>,
        output: &mut Array2<F>,
        scratch: &mut Scratch<F>,
    ) {
        if let [(all, panels)] = &self.groups[..]
            && *all == gates
            && self.mask.is_none()
            && output.ncols() == panels.width()
        {
            return panels.add_product(input, output.view_mut(), &mut scratch.packed);
        }
        for (group, panels) in self.groups(&gates) {
            let mut product = scratch.product.slice_mut(s![.., ..panels.width()]);
            product.fill(F::zero());
            match &self.mask {
                None => panels.add_product(input, product.view_mut(), &mut scratch.packed),
                Some(mask) => {
                    scratch.masked.assign(&input);
                    scratch.masked *= &mask.slice(s![rows.clone(), group.start, ..]);
                    let masked = scratch.masked.view();
                    panels.add_product(masked, product.view_mut(), &mut scratch.packed);
                }
            }
            let columns = group.start * self.hidden..group.end * self.hidden;
            let mut output = output.slice_mut(s![.., columns.clone()]);
            output += &product.slice(s![.., ..columns.len()]);
        }
    }

    /// The opposite: d_input `[b, P]` += for each of the gates m_g ⊙ (d_r_g R_g), d_r: `[b, G·H]`.
    pub(super) fn add_back(
        &self,
        rows: &Range<usize>,
        gates: Range<usize>,
        d_r: ArrayView2<'_, F>,
        d_input: &mut Array2<F>,
        scratch: &mut Scratch<F>,
    ) {
        let width = d_input.ncols();
        for (group, panels) in self.groups(&gates) {
            let mut product = scratch.product.slice_mut(s![.., ..panels.width()]);
            product.fill(F::zero());
            let columns = group.start * self.hidden..group.end * self.hidden;
            let d_r = d_r.slice(s![.., columns]);
            panels.add_product(d_r, product.view_mut(), &mut scratch.packed);
            let mut product = product.slice_mut(s![.., ..width]);
            if let Some(mask) = &self.mask {
                product *= &mask.slice(s![rows.clone(), group.start, ..]);
            }
            *d_input += &product;
        }
    }
}

/// The states of some rows: h `[b, P]`, and the cell's `[b, S·H]`, whose first plane is h unless there is a projection.
pub(super) struct States<F> {
    pub(super) h: Array2<F>,
    pub(super) cell: Array2<F>,
}

impl<F: Real> States<F> {
    /// From a tensor `[S][D, B, ·]`, zeros where absent.
    pub(super) fn load(
        from: Option<&[F]>,
        cell: &CellRef,
        shape: &RecurrentShape,
        direction: usize,
        rows: &Range<usize>,
    ) -> Self {
        let batch = rows.len();
        let mut states = Self {
            h: Array2::zeros((batch, shape.output)),
            cell: Array2::zeros((batch, cell.states() * shape.hidden)),
        };
        if let Some(from) = from {
            for state in 0..cell.states() {
                let part = range(shape, state, direction, rows);
                let width = if state == 0 {
                    shape.output
                } else {
                    shape.hidden
                };
                let values = view(&from[part], (batch, width));
                if state == 0 {
                    states.h.assign(&values);
                } else {
                    states.plane_mut(state, shape.hidden).assign(&values);
                }
            }
        }
        states
    }

    /// To such a tensor.
    pub(super) fn store(
        &self,
        to: &mut [F],
        cell: &CellRef,
        shape: &RecurrentShape,
        direction: usize,
        rows: &Range<usize>,
    ) {
        let hidden = shape.hidden;
        for state in 0..cell.states() {
            let part = &mut to[range(shape, state, direction, rows)];
            if state == 0 {
                view_mut(part, self.h.dim()).assign(&self.h);
            } else {
                let plane = self
                    .cell
                    .slice(s![.., state * hidden..(state + 1) * hidden]);
                view_mut(part, plane.dim()).assign(&plane);
            }
        }
    }

    /// Puts h into the cell's first plane.
    pub(super) fn put_h(&mut self, hidden: usize) {
        self.cell.slice_mut(s![.., ..hidden]).assign(&self.h);
    }

    /// `[b, H]` of the cell's states.
    pub(super) fn plane_mut(&mut self, state: usize, hidden: usize) -> ArrayViewMut2<'_, F> {
        self.cell
            .slice_mut(s![.., state * hidden..(state + 1) * hidden])
    }
}

/// The elements of some rows of a state in a tensor `[S][D, B, ·]`.
fn range(
    shape: &RecurrentShape,
    state: usize,
    direction: usize,
    rows: &Range<usize>,
) -> Range<usize> {
    let width = if state == 0 {
        shape.output
    } else {
        shape.hidden
    };
    let first = shape.state_offset(state) + (direction * shape.batch + rows.start) * width;
    first..first + rows.len() * width
}

/// Which states are kept.
#[derive(Clone, Copy)]
pub(super) struct ZoneoutMask {
    rates: [f64; 2],
    stream: Option<Stream>,
    shape: RecurrentShape,
    segment: Segment,
}

impl ZoneoutMask {
    pub(super) fn new<F: Real>(
        zoneout: Option<Zoneout>,
        shape: &RecurrentShape,
        segment: Segment,
        memory: &Memory<'_, F>,
    ) -> Option<Self> {
        let Zoneout { rates, random } = zoneout?;
        let stream = random.map(|(rng, site)| Stream::new(&memory.read(rng), site));
        let shape = *shape;
        Some(Self {
            rates,
            stream,
            shape,
            segment,
        })
    }

    /// m of one unit's state: new = (1 − m) old + m computed.
    pub(super) fn keep<F: Real>(
        &self,
        state: usize,
        (direction, t, row, unit): (usize, usize, usize, usize),
    ) -> F {
        let RecurrentShape {
            steps,
            batch,
            hidden,
            output,
            ..
        } = self.shape;
        let kind = state.min(1);
        let Some(stream) = self.stream else {
            return F::from_double(1.0 - self.rates[kind]);
        };
        let width = if state == 0 { output } else { hidden };
        let t = self.segment.start(steps, direction) + t;
        let block = ((direction * self.segment.total + t) * batch + row) * width + unit;
        let word = stream.block(block as u32)[kind];
        if word >= threshold(self.rates[kind]) {
            F::one()
        } else {
            F::zero()
        }
    }
}
