//! Cells behind a pointer, applied to whole rows.

use super::{Backward, Cell, Forward, Inner, InnerBackward, MAX_COUNT, WgslSource};
use crate::Real;
use std::sync::Arc;

/// A shared [`Cell`] of any type.
#[derive(Clone)]
pub struct CellRef(Arc<dyn ErasedCell>);

macro_rules! forwarded {
    ($($(#[$doc:meta])* $visibility:vis $name:ident: $result:ty),* $(,)?) => {
        impl CellRef {
            $($(#[$doc])* $visibility fn $name(&self) -> $result {
                self.0.$name()
            })*
        }
        /// [`Cell`] without its generic methods, so that operations can hold any cell.
        pub trait ErasedCell: std::fmt::Debug + Send + Sync {
            $(fn $name(&self) -> $result;)*
            fn forward_f32(&self, row: ForwardRow<'_, f32>);
            fn forward_f64(&self, row: ForwardRow<'_, f64>);
            fn backward_f32(&self, row: BackwardRow<'_, f32>);
            fn backward_f64(&self, row: BackwardRow<'_, f64>);
            fn inner_f32(&self, row: InnerRow<'_, f32>);
            fn inner_f64(&self, row: InnerRow<'_, f64>);
            fn inner_backward_f32(&self, row: InnerBackwardRow<'_, f32>);
            fn inner_backward_f64(&self, row: InnerBackwardRow<'_, f64>);
        }
        impl<C: Cell> ErasedCell for C {
            $(fn $name(&self) -> $result {
                Cell::$name(self)
            })*
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
            fn inner_f32(&self, row: InnerRow<'_, f32>) {
                inner_row(self, row);
            }
            fn inner_f64(&self, row: InnerRow<'_, f64>) {
                inner_row(self, row);
            }
            fn inner_backward_f32(&self, row: InnerBackwardRow<'_, f32>) {
                inner_backward_row(self, row);
            }
            fn inner_backward_f64(&self, row: InnerBackwardRow<'_, f64>) {
                inner_backward_row(self, row);
            }
        }
    };
}

forwarded! {
    /// See [`Cell::name`].
    pub name: &'static str,
    /// See [`Cell::gates`].
    pub gates: usize,
    /// See [`Cell::states`].
    pub states: usize,
    /// See [`Cell::saved`].
    pub saved: usize,
    /// See [`Cell::diagonals`].
    pub diagonals: usize,
    /// See [`Cell::early_gates`].
    pub early_gates: usize,
    /// See [`Cell::shared_gradient`].
    pub shared_gradient: bool,
    /// See [`Cell::wgsl`].
    pub wgsl: WgslSource,
    /// See [`Cell::wgsl_constants`].
    pub wgsl_constants: String,
}

impl CellRef {
    /// Shares a cell.
    pub fn new(cell: impl Cell) -> Self {
        Self(Arc::new(cell))
    }
    /// Whether the recurrent product of some gates takes [`Cell::inner`].
    pub fn has_late_gates(&self) -> bool {
        self.early_gates() < self.gates()
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
    /// `[V, H]`
    pub diagonal: &'a [F],
    /// `[S, H]`, old states in, new out.
    pub state: &'a mut [F],
    /// `[K, H]`, out; `None` where nothing is kept.
    pub saved: Option<&'a mut [F]>,
}

/// One batch row of one step back, planar like [`ForwardRow`].
pub struct BackwardRow<'a, F> {
    /// `[K, H]`
    pub saved: &'a [F],
    /// `[V, H]`
    pub diagonal: &'a [F],
    /// `[S, H]`, gradient of the new states in, direct gradient of the old out.
    pub d_state: &'a mut [F],
    /// `[G, H]`, out.
    pub d_x: &'a mut [F],
    /// `[G, H]`, out; `None` where it equals `d_x`.
    pub d_r: Option<&'a mut [F]>,
    /// `[V, H]`, added to.
    pub d_diagonal: &'a mut [F],
}

/// One batch row between the products of a step, planar like [`ForwardRow`].
pub struct InnerRow<'a, F> {
    /// `[G, H]`
    pub x: &'a [F],
    /// `[G, H]`, of which the early gates count.
    pub r: &'a [F],
    /// `[S, H]`
    pub state: &'a [F],
    /// `[H]`, out.
    pub inner: &'a mut [F],
}

/// One batch row between the products of a step back, planar like [`ForwardRow`].
pub struct InnerBackwardRow<'a, F> {
    /// `[K, H]`
    pub saved: &'a [F],
    /// `[H]`
    pub d_inner: &'a [F],
    /// `[S, H]`, added to.
    pub d_state: &'a mut [F],
    /// `[G, H]`, added to.
    pub d_x: &'a mut [F],
    /// `[G, H]`, added to; `None` where it equals `d_x`.
    pub d_r: Option<&'a mut [F]>,
}

/// The values of one unit, gathered from planes; at most [`MAX_COUNT`] of them.
struct Values<F> {
    values: [F; MAX_COUNT],
    count: usize,
}

impl<F: Real> Values<F> {
    fn zeros(count: usize) -> Self {
        let values = [F::zero(); MAX_COUNT];
        Self { values, count }
    }
    fn gather(&mut self, planes: &[F], hidden: usize, unit: usize) {
        for (plane, value) in self.all().iter_mut().enumerate() {
            *value = planes[plane * hidden + unit];
        }
    }
    fn scatter(&self, planes: &mut [F], hidden: usize, unit: usize) {
        for (plane, value) in self.values[..self.count].iter().enumerate() {
            planes[plane * hidden + unit] = *value;
        }
    }
    fn add(&self, planes: &mut [F], hidden: usize, unit: usize) {
        for (plane, value) in self.values[..self.count].iter().enumerate() {
            planes[plane * hidden + unit] += *value;
        }
    }
    fn all(&mut self) -> &mut [F] {
        &mut self.values[..self.count]
    }
}

fn forward_row<C: Cell, F: Real>(cell: &C, mut row: ForwardRow<'_, F>) {
    let hidden = row.state.len() / cell.states();
    let (mut x, mut r) = (Values::zeros(cell.gates()), Values::zeros(cell.gates()));
    let mut diagonal = Values::zeros(cell.diagonals());
    let mut state = Values::zeros(cell.states());
    let mut saved = Values::zeros(cell.saved());
    for unit in 0..hidden {
        x.gather(row.x, hidden, unit);
        r.gather(row.r, hidden, unit);
        diagonal.gather(row.diagonal, hidden, unit);
        state.gather(row.state, hidden, unit);
        cell.forward(Forward {
            x: x.all(),
            r: r.all(),
            diagonal: diagonal.all(),
            state: state.all(),
            saved: saved.all(),
        });
        state.scatter(row.state, hidden, unit);
        if let Some(planes) = row.saved.as_deref_mut() {
            saved.scatter(planes, hidden, unit);
        }
    }
}

fn backward_row<C: Cell, F: Real>(cell: &C, mut row: BackwardRow<'_, F>) {
    let hidden = row.d_state.len() / cell.states();
    let mut saved = Values::zeros(cell.saved());
    let mut diagonal = Values::zeros(cell.diagonals());
    let mut d_state = Values::zeros(cell.states());
    let (mut d_x, mut d_r) = (Values::zeros(cell.gates()), Values::zeros(cell.gates()));
    let mut d_diagonal = Values::zeros(cell.diagonals());
    for unit in 0..hidden {
        saved.gather(row.saved, hidden, unit);
        diagonal.gather(row.diagonal, hidden, unit);
        d_state.gather(row.d_state, hidden, unit);
        cell.backward(Backward {
            saved: saved.all(),
            diagonal: diagonal.all(),
            d_state: d_state.all(),
            d_x: d_x.all(),
            d_r: d_r.all(),
            d_diagonal: d_diagonal.all(),
        });
        d_state.scatter(row.d_state, hidden, unit);
        d_x.scatter(row.d_x, hidden, unit);
        if let Some(planes) = row.d_r.as_deref_mut() {
            d_r.scatter(planes, hidden, unit);
        }
        d_diagonal.add(row.d_diagonal, hidden, unit);
    }
}

fn inner_row<C: Cell, F: Real>(cell: &C, row: InnerRow<'_, F>) {
    let hidden = row.inner.len();
    let mut x = Values::zeros(cell.gates());
    let mut r = Values::zeros(cell.early_gates());
    let mut state = Values::zeros(cell.states());
    for unit in 0..hidden {
        x.gather(row.x, hidden, unit);
        r.gather(row.r, hidden, unit);
        state.gather(row.state, hidden, unit);
        row.inner[unit] = cell.inner(Inner {
            x: x.all(),
            r: r.all(),
            state: state.all(),
        });
    }
}

fn inner_backward_row<C: Cell, F: Real>(cell: &C, mut row: InnerBackwardRow<'_, F>) {
    let hidden = row.d_inner.len();
    let mut saved = Values::zeros(cell.saved());
    for unit in 0..hidden {
        saved.gather(row.saved, hidden, unit);
        let mut d_state = Values::zeros(cell.states());
        let (mut d_x, mut d_r) = (Values::zeros(cell.gates()), Values::zeros(cell.gates()));
        cell.inner_backward(InnerBackward {
            saved: saved.all(),
            d_inner: row.d_inner[unit],
            d_state: d_state.all(),
            d_x: d_x.all(),
            d_r: d_r.all(),
        });
        d_state.add(row.d_state, hidden, unit);
        d_x.add(row.d_x, hidden, unit);
        if let Some(planes) = row.d_r.as_deref_mut() {
            d_r.add(planes, hidden, unit);
        }
    }
}
