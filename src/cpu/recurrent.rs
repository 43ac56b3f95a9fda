//! What the two directions of time share: the layer's numbers, its states by row, products by gate.

use super::Memory;
use crate::Real;
use crate::cell::CellRef;
use crate::philox::{Stream, threshold};
use crate::program::{RecurrentShape, Slice, Zoneout};
use crate::trusted::product;
use ndarray::{
    Array2, ArrayView, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut, ArrayViewMut2, Dimension,
    StrideShape, s,
};
use std::ops::Range;

pub(super) const CONTIGUOUS: &str = "rows are contiguous";

/// The lengths of all rows, T where none are given.
pub(super) fn lengths<F: Real>(
    memory: &Memory<'_, F>,
    lengths: Option<Slice>,
    shape: &RecurrentShape,
) -> Vec<usize> {
    lengths.map_or_else(
        || vec![shape.steps; shape.batch],
        |lengths| memory.lengths(lengths),
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
    /// R, `[G·H, P]`
    pub(super) weight_hh: ArrayView2<'a, F>,
    /// `[G·H]`
    pub(super) bias_hh: Option<ArrayView1<'a, F>>,
    /// `[P, H]`
    pub(super) weight_hr: Option<ArrayView2<'a, F>>,
    /// `[V·H]`
    pub(super) diagonal: &'a [F],
    /// `[B, G, P]`
    pub(super) mask: Option<ArrayView3<'a, F>>,
    pub(super) zoneout: Option<ZoneoutMask>,
    /// `[B]`
    pub(super) lengths: &'a [usize],
}

impl<F: Real> Layer<'_, F> {
    pub(super) fn time(&self, step: usize) -> usize {
        time_of(step, self.shape.steps, self.direction == 1)
    }

    /// output `[b, ·]` = Σ over gates, at columns g·H: (input `[b, P]` ⊙ m_g) R_gᵀ. Adds.
    pub(super) fn gate_products(
        &self,
        rows: &Range<usize>,
        gates: Range<usize>,
        input: ArrayView2<'_, F>,
        mut output: ArrayViewMut2<'_, F>,
    ) {
        let hidden = self.shape.hidden;
        let mut add = |gates: Range<usize>, input: ArrayView2<'_, F>| {
            let columns = s![.., gates.start * hidden..gates.end * hidden];
            let weight = self.weight_hh.t();
            product(
                input,
                weight.slice(columns),
                output.slice_mut(columns),
                true,
                1,
            );
        };
        match &self.mask {
            None => add(gates, input),
            Some(mask) => {
                for gate in gates {
                    let masked = &input * &mask.slice(s![rows.clone(), gate, ..]);
                    add(gate..gate + 1, masked.view());
                }
            }
        }
    }

    /// The opposite: d_input `[b, P]` += Σ over gates of m_g ⊙ (d_r_g R_g), d_r: `[b, G·H]`.
    pub(super) fn gate_products_back(
        &self,
        rows: &Range<usize>,
        gates: Range<usize>,
        d_r: ArrayView2<'_, F>,
        mut d_input: ArrayViewMut2<'_, F>,
    ) {
        let hidden = self.shape.hidden;
        let columns = |gates: &Range<usize>| gates.start * hidden..gates.end * hidden;
        let part = |gates: &Range<usize>| {
            (
                d_r.slice_move(s![.., columns(gates)]),
                self.weight_hh.slice(s![columns(gates), ..]),
            )
        };
        match &self.mask {
            None => {
                let (d_r, weight) = part(&gates);
                product(d_r, weight, d_input, true, 1);
            }
            Some(mask) => {
                let mut back = Array2::zeros(d_input.dim());
                for gate in gates {
                    let (d_r, weight) = part(&(gate..gate + 1));
                    product(d_r, weight, back.view_mut(), false, 1);
                    d_input += &(&back * &mask.slice(s![rows.clone(), gate, ..]));
                }
            }
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
}

impl ZoneoutMask {
    pub(super) fn new<F: Real>(
        zoneout: Option<Zoneout>,
        shape: &RecurrentShape,
        memory: &Memory<'_, F>,
    ) -> Option<Self> {
        let Zoneout { rates, random } = zoneout?;
        let stream = random.map(|(rng, site)| Stream::new(&memory.read(rng), site));
        let shape = *shape;
        Some(Self {
            rates,
            stream,
            shape,
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
        let block = ((direction * steps + t) * batch + row) * width + unit;
        let word = stream.block(block as u32)[kind];
        if word >= threshold(self.rates[kind]) {
            F::one()
        } else {
            F::zero()
        }
    }
}
