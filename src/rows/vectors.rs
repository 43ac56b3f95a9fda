//! Cells applied to whole rows of f32, a register of units at a time, in the best vector
//! instructions that the processor has.

use super::{
    BackwardRow, ForwardRow, InnerBackwardRow, InnerRow, RowCell, STEP_ROWS, StepRows, TakesSteps,
};
use crate::cell::{Backward, Cell, Forward, Inner, InnerBackward, MAX_COUNT, Vector};
use crate::panels::{MOST_VECTORS, Start, single};
use ndarray::{ArrayView2, Axis};
use pulp::{Arch, Simd, WithSimd};

/// A row with its cell. A type and not a closure, as closures are not inlined into code for vector
/// instructions.
struct InVectors<'a, C, R>(&'a C, R);

/// Runs a row in the best vector instructions. Code that is not optimised keeps every register of a
/// cell's equations on the stack, which overflows with large ones; it takes one number at a time.
fn dispatch<Op: WithSimd<Output = ()>>(op: Op) {
    if cfg!(debug_assertions) {
        op.with_simd(pulp::Scalar::new());
    } else {
        Arch::new().dispatch(op);
    }
}

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

impl<C: Cell> WithSimd for InVectors<'_, C, ForwardRow<'_, f32>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(cell, mut row) = self;
        let (gates, states) = (cell.gates(), cell.states());
        let hidden = row.state.len() / states;
        for units in blocks(hidden, S::F32_LANES) {
            let block = UnitBlock { hidden, units };
            let x = block.load(simd, row.x, gates);
            let r = block.load(simd, row.r, gates);
            let diagonal = block.load(simd, row.diagonal, cell.diagonals());
            let before = block.load(simd, row.state, states);
            let saved = row.saved.as_deref_mut();
            block.forward(simd, cell, [x, r, diagonal, before], row.state, saved);
        }
    }
}

impl<C: Cell> RowCell<f32> for C {
    fn takes_steps(&self) -> Option<&dyn TakesSteps<f32>> {
        let (early, gates) = (self.early_gates(), self.gates());
        (early == gates && gates <= MOST_VECTORS).then_some(self as _)
    }
    fn forward_row(&self, row: ForwardRow<'_, f32>) {
        dispatch(InVectors(self, row));
    }
    fn backward_row(&self, row: BackwardRow<'_, f32>) {
        dispatch(InVectors(self, row));
    }
    fn inner_row(&self, row: InnerRow<'_, f32>) {
        dispatch(InVectors(self, row));
    }
    fn inner_backward_row(&self, row: InnerBackwardRow<'_, f32>) {
        dispatch(InVectors(self, row));
    }
}

impl<C: Cell> TakesSteps<f32> for C {
    fn step_rows(&self, rows: StepRows<'_, f32>) {
        // Panels lie for these vectors.
        Arch::new().dispatch(InVectors(self, rows));
    }
}

const CONTIGUOUS: &str = "rows are contiguous";

#[inline(always)]
fn of_row<'a>(view: &'a ArrayView2<'_, f32>, row: usize) -> &'a [f32] {
    view.index_axis(Axis(0), row).to_slice().expect(CONTIGUOUS)
}

/// For a register of units, their product in all gates, then the cell.
impl<C: Cell> WithSimd for InVectors<'_, C, StepRows<'_, f32>> {
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
            single::panel(simd, step.weights, (block, gates), h, start, step.r, stride);
            let units = block * lanes..((block + 1) * lanes).min(hidden);
            let (block, products) = (UnitBlock { hidden, units }, step.r.chunks_exact(stride));
            let diagonal = block.load(simd, step.diagonal, cell.diagonals());
            for (row, products) in products
                .enumerate()
                .take(batch)
                .filter(|(row, _)| step.live[*row])
            {
                let x = block.load(simd, of_row(&step.x, row), gates);
                let whole = UnitBlock {
                    hidden: lanes,
                    units: 0..lanes,
                };
                let r = whole.load(simd, products, gates);
                let before = block.load(simd, of_row(&step.before, row), states);
                let state = step.state.row_mut(row).into_slice().expect(CONTIGUOUS);
                let saved = step.saved.as_mut();
                let saved = saved.map(|saved| saved.row_mut(row).into_slice().expect(CONTIGUOUS));
                block.forward(simd, cell, [x, r, diagonal, before], state, saved);
            }
        }
    }
}

/// What some units have in each of up to [`MAX_COUNT`] planes.
type Vectors<S> = [Vector<S>; MAX_COUNT];

#[inline(always)]
fn zeros<S: Simd>(simd: S) -> Vectors<S> {
    let values = simd.splat_f32s(0.0);
    [Vector { simd, values }; MAX_COUNT]
}

/// Some units of planes of H: as many as a register has, or fewer.
struct UnitBlock {
    hidden: usize,
    units: std::ops::Range<usize>,
}

impl UnitBlock {
    #[inline(always)]
    fn plane(&self, index: usize) -> std::ops::Range<usize> {
        index * self.hidden + self.units.start..index * self.hidden + self.units.end
    }

    /// The units' numbers in the first `count` planes.
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, planes: &[f32], count: usize) -> Vectors<S> {
        let mut vectors = zeros(simd);
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
    fn forward<S: Simd, C: Cell>(
        &self,
        simd: S,
        cell: &C,
        [x, r, diagonal, mut state]: [Vectors<S>; 4],
        to: &mut [f32],
        keep: Option<&mut [f32]>,
    ) {
        let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
        let mut saved = zeros(simd);
        cell.forward(Forward {
            x: &x[..gates],
            r: &r[..gates],
            diagonal: &diagonal[..cell.diagonals()],
            state: &mut state[..states],
            saved: &mut saved[..kept],
        });
        self.store(&state[..states], to);
        if let Some(keep) = keep {
            self.store(&saved[..kept], keep);
        }
    }
}

impl<C: Cell> WithSimd for InVectors<'_, C, BackwardRow<'_, f32>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(cell, mut row) = self;
        let (gates, states, diagonals) = (cell.gates(), cell.states(), cell.diagonals());
        let (kept, hidden) = (cell.saved(), row.d_state.len() / states);
        for units in blocks(hidden, S::F32_LANES) {
            let block = UnitBlock { hidden, units };
            let saved = block.load(simd, row.saved, kept);
            let diagonal = block.load(simd, row.diagonal, diagonals);
            let mut d_state = block.load(simd, row.d_state, states);
            let (mut d_x, mut d_r, mut d_diagonal) = (zeros(simd), zeros(simd), zeros(simd));
            cell.backward(Backward {
                saved: &saved[..kept],
                diagonal: &diagonal[..diagonals],
                d_state: &mut d_state[..states],
                d_x: &mut d_x[..gates],
                d_r: &mut d_r[..gates],
                d_diagonal: &mut d_diagonal[..diagonals],
            });
            block.store(&d_state[..states], row.d_state);
            block.store(&d_x[..gates], row.d_x);
            if let Some(planes) = row.d_r.as_deref_mut() {
                block.store(&d_r[..gates], planes);
            }
            let mut sums = block.load(simd, row.d_diagonal, diagonals);
            for (sum, d) in sums.iter_mut().zip(d_diagonal) {
                *sum += d;
            }
            block.store(&sums[..diagonals], row.d_diagonal);
        }
    }
}

impl<C: Cell> WithSimd for InVectors<'_, C, InnerRow<'_, f32>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(cell, row) = self;
        let (gates, early, states) = (cell.gates(), cell.early_gates(), cell.states());
        let hidden = row.inner.len();
        for units in blocks(hidden, S::F32_LANES) {
            let block = UnitBlock { hidden, units };
            let inner = cell.inner(Inner {
                x: &block.load(simd, row.x, gates)[..gates],
                r: &block.load(simd, row.r, early)[..early],
                state: &block.load(simd, row.state, states)[..states],
            });
            block.store(&[inner], row.inner);
        }
    }
}

impl<C: Cell> WithSimd for InVectors<'_, C, InnerBackwardRow<'_, f32>> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(cell, mut row) = self;
        let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
        let hidden = row.d_inner.len();
        for units in blocks(hidden, S::F32_LANES) {
            let block = UnitBlock { hidden, units };
            let saved = block.load(simd, row.saved, kept);
            let [d_inner, ..] = block.load(simd, row.d_inner, 1);
            let mut d_state = block.load(simd, row.d_state, states);
            let mut d_x = block.load(simd, row.d_x, gates);
            let mut d_r = match row.d_r.as_deref() {
                Some(planes) => block.load(simd, planes, gates),
                None => zeros(simd),
            };
            cell.inner_backward(InnerBackward {
                saved: &saved[..kept],
                d_inner,
                d_state: &mut d_state[..states],
                d_x: &mut d_x[..gates],
                d_r: &mut d_r[..gates],
            });
            block.store(&d_state[..states], row.d_state);
            block.store(&d_x[..gates], row.d_x);
            if let Some(planes) = row.d_r.as_deref_mut() {
                block.store(&d_r[..gates], planes);
            }
        }
    }
}
