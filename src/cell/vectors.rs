//! Plain cells applied to whole rows of f32, a register of units at a time.

use super::lanes::{Lanes, Vector};
use super::{
    Backward, BackwardRow, Cell, Forward, ForwardRow, MAX_COUNT, STEP_ROWS, StepRows, TakesSteps,
};
use crate::cpu::panels::{Start, single};
use ndarray::{ArrayView2, Axis};
use pulp::{Arch, Simd, WithSimd};

/// A cell whose functions take numbers and vectors of them alike: no late gates, no diagonal weights, no branches.
pub(super) trait Plain: Cell {
    /// [`Cell::forward`]
    fn step<L: Lanes>(&self, unit: Forward<'_, L>);
    /// [`Cell::backward`]
    fn step_back<L: Lanes>(&self, unit: Backward<'_, L>);
}

/// A plain cell, whose f32 rows are worked on in vectors. (Not left to the compiler, as with other cells: those are compiled without
/// fused multiply-adds, which processors without them would have to call.)
#[derive(Clone, Debug)]
pub(super) struct InVectors<P>(pub(super) P);

impl<P: Plain> InVectors<P> {
    pub(super) fn forward(&self, row: ForwardRow<'_, f32>) {
        Arch::new().dispatch(Row(&self.0, row));
    }
    pub(super) fn backward(&self, row: BackwardRow<'_, f32>) {
        Arch::new().dispatch(Row(&self.0, row));
    }
}

/// A row with its cell. A type and not a closure, as closures are not inlined into code for vector instructions.
struct Row<'a, P, R>(&'a P, R);

/// The units of one register, and the last ones, which may be fewer.
fn blocks(hidden: usize, lanes: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..hidden)
        .step_by(lanes)
        .map(move |first| first..(first + lanes).min(hidden))
}

#[inline(always)]
fn load<S: Simd>(simd: S, from: &[f32]) -> Vector<S> {
    let values = match S::as_simd_f32s(from).0.first() {
        Some(values) => *values,
        None => simd.partial_load_f32s(from),
    };
    Vector { simd, values }
}

#[inline(always)]
fn store<S: Simd>(vector: Vector<S>, to: &mut [f32]) {
    match S::as_mut_simd_f32s(to).0.first_mut() {
        Some(to) => *to = vector.values,
        None => vector.simd.partial_store_f32s(to, vector.values),
    }
}

impl<P: Plain> WithSimd for Row<'_, P, ForwardRow<'_, f32>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(cell, mut row) = self;
        let (gates, states) = (cell.gates(), cell.states());
        let hidden = row.state.len() / states;
        for units in blocks(hidden, S::F32_LANES) {
            let part = Part { hidden, units };
            let x = part.load(simd, row.x, gates);
            let r = part.load(simd, row.r, gates);
            let before = part.load(simd, row.state, states);
            let saved = row.saved.as_deref_mut();
            part.forward(simd, cell, [x, r, before], row.state, saved);
        }
    }
}

impl<P: Plain> TakesSteps<f32> for InVectors<P> {
    fn step_rows(&self, rows: StepRows<'_, f32>) {
        Arch::new().dispatch(Row(&self.0, rows));
    }
}

const CONTIGUOUS: &str = "rows are contiguous";

#[inline(always)]
fn of_row<'a>(view: &'a ArrayView2<'_, f32>, row: usize) -> &'a [f32] {
    view.index_axis(Axis(0), row).to_slice().expect(CONTIGUOUS)
}

/// For a register of units, their product in all gates, then the cell.
impl<P: Plain> WithSimd for Row<'_, P, StepRows<'_, f32>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(cell, mut step) = self;
        let (gates, states) = (cell.gates(), cell.states());
        let (batch, width) = step.before.dim();
        let hidden = width / states;
        let mut h: [&[f32]; STEP_ROWS] = [&[]; STEP_ROWS];
        for (h, before) in h.iter_mut().zip(step.before.rows()) {
            *h = &before.to_slice().expect(CONTIGUOUS)[..hidden];
        }
        let (h, lanes) = (&h[..batch], S::F32_LANES);
        let (stride, count) = (gates * lanes, hidden.div_ceil(lanes));
        for index in 0..count {
            let block = if step.back { count - 1 - index } else { index };
            let start = Start::Row(step.bias);
            single::panel(simd, step.weights, block, h, start, step.r, stride);
            let units = block * lanes..((block + 1) * lanes).min(hidden);
            let (part, products) = (Part { hidden, units }, step.r.chunks_exact(stride));
            for (row, products) in products
                .enumerate()
                .take(batch)
                .filter(|(row, _)| step.live[*row])
            {
                let x = part.load(simd, of_row(&step.x, row), gates);
                let whole = Part {
                    hidden: lanes,
                    units: 0..lanes,
                };
                let r = whole.load(simd, products, gates);
                let before = part.load(simd, of_row(&step.before, row), states);
                let state = step.state.row_mut(row).into_slice().expect(CONTIGUOUS);
                let saved = step.saved.as_mut();
                let saved = saved.map(|saved| saved.row_mut(row).into_slice().expect(CONTIGUOUS));
                part.forward(simd, cell, [x, r, before], state, saved);
            }
        }
    }
}

/// Some units of planes of H: as many as a register has, or fewer.
struct Part {
    hidden: usize,
    units: std::ops::Range<usize>,
}

impl Part {
    #[inline(always)]
    fn plane(&self, index: usize) -> std::ops::Range<usize> {
        index * self.hidden + self.units.start..index * self.hidden + self.units.end
    }

    /// The units' numbers in the first `count` planes.
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, planes: &[f32], count: usize) -> [Vector<S>; MAX_COUNT] {
        let values = simd.splat_f32s(0.0);
        let mut vectors = [Vector { simd, values }; MAX_COUNT];
        for (index, vector) in vectors.iter_mut().enumerate().take(count) {
            *vector = load(simd, &planes[self.plane(index)]);
        }
        vectors
    }

    #[inline(always)]
    fn store<S: Simd>(&self, vectors: &[Vector<S>], planes: &mut [f32]) {
        for (index, vector) in vectors.iter().enumerate() {
            store(*vector, &mut planes[self.plane(index)]);
        }
    }

    /// The cell of x, r and the old states: new states and what is saved.
    #[inline(always)]
    fn forward<S: Simd, P: Plain>(
        &self,
        simd: S,
        cell: &P,
        [x, r, mut state]: [[Vector<S>; MAX_COUNT]; 3],
        to: &mut [f32],
        keep: Option<&mut [f32]>,
    ) {
        let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
        let values = simd.splat_f32s(0.0);
        let mut saved = [Vector { simd, values }; MAX_COUNT];
        cell.step(Forward {
            x: &x[..gates],
            r: &r[..gates],
            diagonal: &[],
            state: &mut state[..states],
            saved: &mut saved[..kept],
        });
        self.store(&state[..states], to);
        if let Some(keep) = keep {
            self.store(&saved[..kept], keep);
        }
    }
}

impl<P: Plain> WithSimd for Row<'_, P, BackwardRow<'_, f32>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(cell, mut row) = self;
        let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
        let hidden = row.d_state.len() / states;
        let values = simd.splat_f32s(0.0);
        let zeros = [Vector { simd, values }; MAX_COUNT];
        for units in blocks(hidden, S::F32_LANES) {
            let plane = |index: usize| index * hidden + units.start..index * hidden + units.end;
            let (mut saved, mut d_state, mut d_x, mut d_r) = (zeros, zeros, zeros, zeros);
            for (index, saved) in saved.iter_mut().enumerate().take(kept) {
                *saved = load(simd, &row.saved[plane(index)]);
            }
            for (index, d_state) in d_state.iter_mut().enumerate().take(states) {
                *d_state = load(simd, &row.d_state[plane(index)]);
            }
            cell.step_back(Backward {
                saved: &saved[..kept],
                diagonal: &[],
                d_state: &mut d_state[..states],
                d_x: &mut d_x[..gates],
                d_r: &mut d_r[..gates],
                d_diagonal: &mut [],
            });
            for (index, d_state) in d_state.iter().enumerate().take(states) {
                store(*d_state, &mut row.d_state[plane(index)]);
            }
            for (index, d_x) in d_x.iter().enumerate().take(gates) {
                store(*d_x, &mut row.d_x[plane(index)]);
            }
            if let Some(planes) = row.d_r.as_deref_mut() {
                for (index, d_r) in d_r.iter().enumerate().take(gates) {
                    store(*d_r, &mut planes[plane(index)]);
                }
            }
        }
    }
}
