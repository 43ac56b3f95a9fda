//! Cells applied to whole rows a unit at a time: in f64, the reference.

use super::{BackwardRow, ForwardRow, InnerBackwardRow, InnerRow};
use crate::cell::{Backward, Cell, Forward, Inner, InnerBackward, MAX_COUNT};

/// A unit's number in each plane of H, as many as there are.
fn take(planes: &[f64], hidden: usize, unit: usize) -> [f64; MAX_COUNT] {
    let mut values = [0.0; MAX_COUNT];
    for (value, plane) in values.iter_mut().zip(planes.chunks_exact(hidden)) {
        *value = plane[unit];
    }
    values
}

fn put(values: &[f64], planes: &mut [f64], hidden: usize, unit: usize) {
    for (value, plane) in values.iter().zip(planes.chunks_exact_mut(hidden)) {
        plane[unit] = *value;
    }
}

pub(super) fn forward<C: Cell>(cell: &C, mut row: ForwardRow<'_, f64>) {
    let (gates, states) = (cell.gates(), cell.states());
    let hidden = row.state.len() / states;
    for unit in 0..hidden {
        let mut state = take(row.state, hidden, unit);
        let mut saved = [0.0; MAX_COUNT];
        cell.forward(Forward {
            x: &take(row.x, hidden, unit)[..gates],
            r: &take(row.r, hidden, unit)[..gates],
            diagonal: &take(row.diagonal, hidden, unit)[..cell.diagonals()],
            state: &mut state[..states],
            saved: &mut saved[..cell.saved()],
        });
        put(&state, row.state, hidden, unit);
        if let Some(planes) = row.saved.as_deref_mut() {
            put(&saved, planes, hidden, unit);
        }
    }
}

pub(super) fn backward<C: Cell>(cell: &C, mut row: BackwardRow<'_, f64>) {
    let (gates, states, diagonals) = (cell.gates(), cell.states(), cell.diagonals());
    let hidden = row.d_state.len() / states;
    for unit in 0..hidden {
        let mut d_state = take(row.d_state, hidden, unit);
        let (mut d_x, mut d_r) = ([0.0; MAX_COUNT], [0.0; MAX_COUNT]);
        let mut d_diagonal = [0.0; MAX_COUNT];
        cell.backward(Backward {
            saved: &take(row.saved, hidden, unit)[..cell.saved()],
            diagonal: &take(row.diagonal, hidden, unit)[..diagonals],
            d_state: &mut d_state[..states],
            d_x: &mut d_x[..gates],
            d_r: &mut d_r[..gates],
            d_diagonal: &mut d_diagonal[..diagonals],
        });
        put(&d_state, row.d_state, hidden, unit);
        put(&d_x, row.d_x, hidden, unit);
        if let Some(planes) = row.d_r.as_deref_mut() {
            put(&d_r, planes, hidden, unit);
        }
        let sums = row.d_diagonal.iter_mut().skip(unit).step_by(hidden);
        sums.zip(d_diagonal).for_each(|(sum, d)| *sum += d);
    }
}

pub(super) fn inner<C: Cell>(cell: &C, row: InnerRow<'_, f64>) {
    let hidden = row.inner.len();
    for unit in 0..hidden {
        row.inner[unit] = cell.inner(Inner {
            x: &take(row.x, hidden, unit)[..cell.gates()],
            r: &take(row.r, hidden, unit)[..cell.early_gates()],
            state: &take(row.state, hidden, unit)[..cell.states()],
        });
    }
}

pub(super) fn inner_backward<C: Cell>(cell: &C, mut row: InnerBackwardRow<'_, f64>) {
    let (gates, states) = (cell.gates(), cell.states());
    let hidden = row.d_inner.len();
    for unit in 0..hidden {
        let mut d_state = take(row.d_state, hidden, unit);
        let mut d_x = take(row.d_x, hidden, unit);
        let mut d_r = take(row.d_r.as_deref().unwrap_or_default(), hidden, unit);
        cell.inner_backward(InnerBackward {
            saved: &take(row.saved, hidden, unit)[..cell.saved()],
            d_inner: row.d_inner[unit],
            d_state: &mut d_state[..states],
            d_x: &mut d_x[..gates],
            d_r: &mut d_r[..gates],
        });
        put(&d_state, row.d_state, hidden, unit);
        put(&d_x, row.d_x, hidden, unit);
        if let Some(planes) = row.d_r.as_deref_mut() {
            put(&d_r, planes, hidden, unit);
        }
    }
}
