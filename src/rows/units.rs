//! Cells applied to whole rows a unit at a time: in f64, the reference.

use super::{BackwardRow, ForwardRow, InnerBackwardRow, InnerRow, RowCell, TakesSteps};
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

impl<C: Cell> RowCell<f64> for C {
    /// The reference takes the product and the cell one after the other.
    fn takes_steps(&self) -> Option<&dyn TakesSteps<f64>> {
        None
    }

    fn forward_row(&self, mut row: ForwardRow<'_, f64>) {
        let (gates, states) = (self.gates(), self.states());
        let hidden = row.state.len() / states;
        for unit in 0..hidden {
            let mut state = take(row.state, hidden, unit);
            let mut saved = [0.0; MAX_COUNT];
            self.forward(Forward {
                x: &take(row.x, hidden, unit)[..gates],
                r: &take(row.r, hidden, unit)[..gates],
                diagonal: &take(row.diagonal, hidden, unit)[..self.diagonals()],
                state: &mut state[..states],
                saved: &mut saved[..self.saved()],
            });
            put(&state, row.state, hidden, unit);
            if let Some(planes) = row.saved.as_deref_mut() {
                put(&saved, planes, hidden, unit);
            }
        }
    }

    fn backward_row(&self, mut row: BackwardRow<'_, f64>) {
        let (gates, states, diagonals) = (self.gates(), self.states(), self.diagonals());
        let hidden = row.d_state.len() / states;
        for unit in 0..hidden {
            let mut d_state = take(row.d_state, hidden, unit);
            let (mut d_x, mut d_r) = ([0.0; MAX_COUNT], [0.0; MAX_COUNT]);
            let mut d_diagonal = [0.0; MAX_COUNT];
            self.backward(Backward {
                saved: &take(row.saved, hidden, unit)[..self.saved()],
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

    fn inner_row(&self, row: InnerRow<'_, f64>) {
        let hidden = row.inner.len();
        for unit in 0..hidden {
            row.inner[unit] = self.inner(Inner {
                x: &take(row.x, hidden, unit)[..self.gates()],
                r: &take(row.r, hidden, unit)[..self.early_gates()],
                state: &take(row.state, hidden, unit)[..self.states()],
            });
        }
    }

    fn inner_backward_row(&self, mut row: InnerBackwardRow<'_, f64>) {
        let (gates, states) = (self.gates(), self.states());
        let hidden = row.d_inner.len();
        for unit in 0..hidden {
            let mut d_state = take(row.d_state, hidden, unit);
            let mut d_x = take(row.d_x, hidden, unit);
            let mut d_r = take(row.d_r.as_deref().unwrap_or_default(), hidden, unit);
            self.inner_backward(InnerBackward {
                saved: &take(row.saved, hidden, unit)[..self.saved()],
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
}
