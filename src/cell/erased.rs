//! Cells behind a pointer, applied to whole rows.

use super::{Cell, MAX_COUNT, WgslSource};
use crate::Real;
use std::sync::Arc;

/// A shared [`Cell`] of any type.
#[derive(Clone)]
pub struct CellRef(Arc<dyn ErasedCell>);

impl CellRef {
    /// Shares a cell.
    pub fn new(cell: impl Cell) -> Self {
        Self(Arc::new(cell))
    }
    /// See [`Cell::name`].
    pub fn name(&self) -> &'static str {
        self.0.name()
    }
    /// See [`Cell::gates`].
    pub fn gates(&self) -> usize {
        self.0.gates()
    }
    /// See [`Cell::states`].
    pub fn states(&self) -> usize {
        self.0.states()
    }
    /// See [`Cell::saved`].
    pub fn saved(&self) -> usize {
        self.0.saved()
    }
    /// See [`Cell::shared_gradient`].
    pub fn shared_gradient(&self) -> bool {
        self.0.shared_gradient()
    }
    /// See [`Cell::wgsl`].
    pub fn wgsl(&self) -> WgslSource {
        self.0.wgsl()
    }
    pub(crate) fn erased(&self) -> &dyn ErasedCell {
        &*self.0
    }
}

impl std::fmt::Debug for CellRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One batch row of one step, all H units. Planar: gate g of unit j is at `g·H + j`.
pub struct ForwardRow<'a, F> {
    /// `[G, H]`
    pub x: &'a [F],
    /// `[G, H]`
    pub r: &'a [F],
    /// `[S, H]`, old states in, new out.
    pub state: &'a mut [F],
    /// `[K, H]`, out; `None` where nothing is kept.
    pub saved: Option<&'a mut [F]>,
}

/// One batch row of one step back, planar like [`ForwardRow`].
pub struct BackwardRow<'a, F> {
    /// `[K, H]`
    pub saved: &'a [F],
    /// `[S, H]`, gradient of the new states in, direct gradient of the old out.
    pub d_state: &'a mut [F],
    /// `[G, H]`, out.
    pub d_x: &'a mut [F],
    /// `[G, H]`, out; `None` where it equals `d_x`.
    pub d_r: Option<&'a mut [F]>,
}

/// [`Cell`] without its generic methods, so that operations can hold any cell.
pub trait ErasedCell: std::fmt::Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn gates(&self) -> usize;
    fn states(&self) -> usize;
    fn saved(&self) -> usize;
    fn shared_gradient(&self) -> bool;
    fn wgsl(&self) -> WgslSource;
    fn forward_f32(&self, row: ForwardRow<'_, f32>);
    fn forward_f64(&self, row: ForwardRow<'_, f64>);
    fn backward_f32(&self, row: BackwardRow<'_, f32>);
    fn backward_f64(&self, row: BackwardRow<'_, f64>);
}

impl<C: Cell> ErasedCell for C {
    fn name(&self) -> &'static str {
        Cell::name(self)
    }
    fn gates(&self) -> usize {
        Cell::gates(self)
    }
    fn states(&self) -> usize {
        Cell::states(self)
    }
    fn saved(&self) -> usize {
        Cell::saved(self)
    }
    fn shared_gradient(&self) -> bool {
        Cell::shared_gradient(self)
    }
    fn wgsl(&self) -> WgslSource {
        Cell::wgsl(self)
    }
    fn forward_f32(&self, row: ForwardRow<'_, f32>) {
        forward_row(self, row);
    }
    fn forward_f64(&self, row: ForwardRow<'_, f64>) {
        forward_row(self, row);
    }
    fn backward_f32(&self, row: BackwardRow<'_, f32>) {
        backward_row(self, row);
    }
    fn backward_f64(&self, row: BackwardRow<'_, f64>) {
        backward_row(self, row);
    }
}

fn gather<F: Real>(planes: &[F], hidden: usize, unit: usize, unit_values: &mut [F]) {
    for (plane, value) in unit_values.iter_mut().enumerate() {
        *value = planes[plane * hidden + unit];
    }
}

fn scatter<F: Real>(unit_values: &[F], hidden: usize, unit: usize, planes: &mut [F]) {
    for (plane, value) in unit_values.iter().enumerate() {
        planes[plane * hidden + unit] = *value;
    }
}

fn forward_row<C: Cell, F: Real>(cell: &C, mut row: ForwardRow<'_, F>) {
    let (gates, states, saved) = (cell.gates(), cell.states(), cell.saved());
    let hidden = row.state.len() / states;
    let mut unit_x = [F::zero(); MAX_COUNT];
    let mut unit_r = [F::zero(); MAX_COUNT];
    let mut unit_state = [F::zero(); MAX_COUNT];
    let mut unit_saved = [F::zero(); MAX_COUNT];
    for unit in 0..hidden {
        gather(row.x, hidden, unit, &mut unit_x[..gates]);
        gather(row.r, hidden, unit, &mut unit_r[..gates]);
        gather(row.state, hidden, unit, &mut unit_state[..states]);
        cell.forward(
            &unit_x[..gates],
            &unit_r[..gates],
            &mut unit_state[..states],
            &mut unit_saved[..saved],
        );
        scatter(&unit_state[..states], hidden, unit, row.state);
        if let Some(planes) = row.saved.as_deref_mut() {
            scatter(&unit_saved[..saved], hidden, unit, planes);
        }
    }
}

fn backward_row<C: Cell, F: Real>(cell: &C, mut row: BackwardRow<'_, F>) {
    let (gates, states, saved) = (cell.gates(), cell.states(), cell.saved());
    let hidden = row.d_state.len() / states;
    let mut unit_saved = [F::zero(); MAX_COUNT];
    let mut unit_state = [F::zero(); MAX_COUNT];
    let mut unit_x = [F::zero(); MAX_COUNT];
    let mut unit_r = [F::zero(); MAX_COUNT];
    for unit in 0..hidden {
        gather(row.saved, hidden, unit, &mut unit_saved[..saved]);
        gather(row.d_state, hidden, unit, &mut unit_state[..states]);
        cell.backward(
            &unit_saved[..saved],
            &mut unit_state[..states],
            &mut unit_x[..gates],
            &mut unit_r[..gates],
        );
        scatter(&unit_state[..states], hidden, unit, row.d_state);
        scatter(&unit_x[..gates], hidden, unit, row.d_x);
        if let Some(planes) = row.d_r.as_deref_mut() {
            scatter(&unit_r[..gates], hidden, unit, planes);
        }
    }
}
