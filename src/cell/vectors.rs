//! Plain cells applied to whole rows of f32, a register of units at a time.

use super::lanes::{Lanes, Vector};
use super::{Backward, BackwardRow, Cell, Forward, ForwardRow, MAX_COUNT};
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
        let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
        let hidden = row.state.len() / states;
        let values = simd.splat_f32s(0.0);
        let zeros = [Vector { simd, values }; MAX_COUNT];
        for units in blocks(hidden, S::F32_LANES) {
            let plane = |index: usize| index * hidden + units.start..index * hidden + units.end;
            let (mut x, mut r, mut state, mut saved) = (zeros, zeros, zeros, zeros);
            for gate in 0..gates {
                x[gate] = load(simd, &row.x[plane(gate)]);
                r[gate] = load(simd, &row.r[plane(gate)]);
            }
            for (index, state) in state.iter_mut().enumerate().take(states) {
                *state = load(simd, &row.state[plane(index)]);
            }
            cell.step(Forward {
                x: &x[..gates],
                r: &r[..gates],
                diagonal: &[],
                state: &mut state[..states],
                saved: &mut saved[..kept],
            });
            for (index, state) in state.iter().enumerate().take(states) {
                store(*state, &mut row.state[plane(index)]);
            }
            if let Some(planes) = row.saved.as_deref_mut() {
                for (index, saved) in saved.iter().enumerate().take(kept) {
                    store(*saved, &mut planes[plane(index)]);
                }
            }
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
