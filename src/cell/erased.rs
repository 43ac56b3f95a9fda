//! Cells behind a pointer, applied to whole rows.

use super::row::{BackwardRow, ForwardRow, InnerBackwardRow, InnerRow, TakesSteps};
use super::vectors::{InVectors, Plain};
use super::{Backward, Cell, Forward, Inner, InnerBackward, MAX_COUNT, WgslSource};
use crate::Real;
use pulp::{Arch, Simd, WithSimd};
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
            /// The cell, if it takes steps with their products.
            fn takes_steps(&self) -> Option<&dyn TakesSteps<f32>> {
                None
            }
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
                Arch::new().dispatch(Vectorised(self, row));
            }
            fn forward_f64(&self, row: ForwardRow<'_, f64>) {
                forward_row(self, row);
            }
            fn backward_f32(&self, row: BackwardRow<'_, f32>) {
                Arch::new().dispatch(Vectorised(self, row));
            }
            fn backward_f64(&self, row: BackwardRow<'_, f64>) {
                backward_row(self, row);
            }
            fn inner_f32(&self, row: InnerRow<'_, f32>) {
                Arch::new().dispatch(Vectorised(self, row));
            }
            fn inner_f64(&self, row: InnerRow<'_, f64>) {
                inner_row(self, row);
            }
            fn inner_backward_f32(&self, row: InnerBackwardRow<'_, f32>) {
                Arch::new().dispatch(Vectorised(self, row));
            }
            fn inner_backward_f64(&self, row: InnerBackwardRow<'_, f64>) {
                inner_backward_row(self, row);
            }
        }
        impl<P: Plain> ErasedCell for InVectors<P> {
            $(fn $name(&self) -> $result {
                Cell::$name(&self.0)
            })*
            fn takes_steps(&self) -> Option<&dyn TakesSteps<f32>> {
                Some(self)
            }
            fn forward_f32(&self, row: ForwardRow<'_, f32>) {
                self.forward(row);
            }
            fn forward_f64(&self, row: ForwardRow<'_, f64>) {
                self.0.forward_f64(row);
            }
            fn backward_f32(&self, row: BackwardRow<'_, f32>) {
                self.backward(row);
            }
            fn backward_f64(&self, row: BackwardRow<'_, f64>) {
                self.0.backward_f64(row);
            }
            fn inner_f32(&self, row: InnerRow<'_, f32>) {
                self.0.inner_f32(row);
            }
            fn inner_f64(&self, row: InnerRow<'_, f64>) {
                self.0.inner_f64(row);
            }
            fn inner_backward_f32(&self, row: InnerBackwardRow<'_, f32>) {
                self.0.inner_backward_f32(row);
            }
            fn inner_backward_f64(&self, row: InnerBackwardRow<'_, f64>) {
                self.0.inner_backward_f64(row);
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
        cell.share()
    }
    pub(crate) fn of(cell: impl Cell) -> Self {
        Self(Arc::new(cell))
    }
    pub(super) fn plain(cell: impl Plain) -> Self {
        Self(Arc::new(InVectors(cell)))
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

/// A row with its cell, to be worked on by code compiled for each set of vector instructions that processors have; the processor's own
/// is taken. A type and not a closure, as closures are not inlined into that code.
struct Vectorised<'a, C, R>(&'a C, R);

macro_rules! vectorised {
    ($($row:ident: $function:ident),*) => {
        $(impl<C: Cell> WithSimd for Vectorised<'_, C, $row<'_, f32>> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, _: S) {
                $function(self.0, self.1);
            }
        })*
    };
}
vectorised!(ForwardRow: forward_row, BackwardRow: backward_row, InnerRow: inner_row, InnerBackwardRow: inner_backward_row);

/// Units that are worked on at once: what a cell computes of one unit is a loop over them, which vector instructions take.
const LANES: usize = 16;

/// The values of some units by plane. A plain array, beside which the number of planes in use stays a constant of the cell.
type Block<F> = [[F; LANES]; MAX_COUNT];

fn zeros<F: Real>() -> Block<F> {
    [[F::zero(); LANES]; MAX_COUNT]
}

/// Takes units `first ..` of `count` planes, as many units as there are.
#[inline(always)]
fn load<F: Real>(block: &mut Block<F>, count: usize, planes: &[F], hidden: usize, first: usize) {
    for (plane, block) in block.iter_mut().enumerate().take(count) {
        let from = &planes[plane * hidden..(plane + 1) * hidden][first..];
        match from.first_chunk::<LANES>() {
            Some(from) => *block = *from,
            None => block[..from.len()].copy_from_slice(from),
        }
    }
}

#[inline(always)]
fn store<F: Real>(block: &Block<F>, count: usize, planes: &mut [F], hidden: usize, first: usize) {
    for (plane, block) in block.iter().enumerate().take(count) {
        let to = &mut planes[plane * hidden..(plane + 1) * hidden][first..];
        match to.first_chunk_mut::<LANES>() {
            Some(to) => *to = *block,
            None => {
                let units = to.len();
                to.copy_from_slice(&block[..units]);
            }
        }
    }
}

#[inline(always)]
fn add<F: Real>(block: &Block<F>, count: usize, planes: &mut [F], hidden: usize, first: usize) {
    for (plane, block) in block.iter().enumerate().take(count) {
        let to = &mut planes[plane * hidden..(plane + 1) * hidden][first..];
        to.iter_mut()
            .zip(block)
            .for_each(|(to, value)| *to += *value);
    }
}

/// One unit's values.
#[inline(always)]
fn unit<F: Real>(block: &Block<F>, count: usize, lane: usize) -> [F; MAX_COUNT] {
    let mut unit = [F::zero(); MAX_COUNT];
    for (value, plane) in unit.iter_mut().zip(block).take(count) {
        *value = plane[lane];
    }
    unit
}

#[inline(always)]
fn set_unit<F: Real>(block: &mut Block<F>, count: usize, lane: usize, unit: &[F; MAX_COUNT]) {
    for (value, plane) in unit.iter().zip(block).take(count) {
        plane[lane] = *value;
    }
}

#[inline(always)]
fn forward_row<C: Cell, F: Real>(cell: &C, row: ForwardRow<'_, F>) {
    let (gates, states) = (cell.gates(), cell.states());
    let (diagonals, kept) = (cell.diagonals(), cell.saved());
    let hidden = row.state.len() / states;
    let (mut x, mut r) = (zeros(), zeros());
    let mut diagonal = zeros();
    let (mut state, mut saved) = (zeros(), zeros());
    let mut planes = row.saved;
    for first in (0..hidden).step_by(LANES) {
        load(&mut x, gates, row.x, hidden, first);
        load(&mut r, gates, row.r, hidden, first);
        load(&mut diagonal, diagonals, row.diagonal, hidden, first);
        load(&mut state, states, row.state, hidden, first);
        for lane in 0..LANES {
            let (x, r, diagonal) = (
                unit(&x, gates, lane),
                unit(&r, gates, lane),
                unit(&diagonal, diagonals, lane),
            );
            let (mut new, mut keep) = (unit(&state, states, lane), [F::zero(); MAX_COUNT]);
            cell.forward(Forward {
                x: &x[..gates],
                r: &r[..gates],
                diagonal: &diagonal[..diagonals],
                state: &mut new[..states],
                saved: &mut keep[..kept],
            });
            set_unit(&mut state, states, lane, &new);
            set_unit(&mut saved, kept, lane, &keep);
        }
        store(&state, states, row.state, hidden, first);
        if let Some(planes) = planes.as_deref_mut() {
            store(&saved, kept, planes, hidden, first);
        }
    }
}

#[inline(always)]
fn backward_row<C: Cell, F: Real>(cell: &C, row: BackwardRow<'_, F>) {
    let (gates, states) = (cell.gates(), cell.states());
    let (diagonals, kept) = (cell.diagonals(), cell.saved());
    let hidden = row.d_state.len() / states;
    let (mut saved, mut diagonal) = (zeros(), zeros());
    let mut d_state = zeros();
    let (mut d_x, mut d_r) = (zeros(), zeros());
    let mut d_diagonal = zeros();
    let mut d_r_planes = row.d_r;
    for first in (0..hidden).step_by(LANES) {
        load(&mut saved, kept, row.saved, hidden, first);
        load(&mut diagonal, diagonals, row.diagonal, hidden, first);
        load(&mut d_state, states, row.d_state, hidden, first);
        for lane in 0..LANES {
            let (saved, diagonal) = (unit(&saved, kept, lane), unit(&diagonal, diagonals, lane));
            let mut old = unit(&d_state, states, lane);
            let (mut x, mut r) = ([F::zero(); MAX_COUNT], [F::zero(); MAX_COUNT]);
            let mut of_diagonal = [F::zero(); MAX_COUNT];
            cell.backward(Backward {
                saved: &saved[..kept],
                diagonal: &diagonal[..diagonals],
                d_state: &mut old[..states],
                d_x: &mut x[..gates],
                d_r: &mut r[..gates],
                d_diagonal: &mut of_diagonal[..diagonals],
            });
            set_unit(&mut d_state, states, lane, &old);
            set_unit(&mut d_x, gates, lane, &x);
            set_unit(&mut d_r, gates, lane, &r);
            set_unit(&mut d_diagonal, diagonals, lane, &of_diagonal);
        }
        store(&d_state, states, row.d_state, hidden, first);
        store(&d_x, gates, row.d_x, hidden, first);
        if let Some(planes) = d_r_planes.as_deref_mut() {
            store(&d_r, gates, planes, hidden, first);
        }
        add(&d_diagonal, diagonals, row.d_diagonal, hidden, first);
    }
}

#[inline(always)]
fn inner_row<C: Cell, F: Real>(cell: &C, row: InnerRow<'_, F>) {
    let hidden = row.inner.len();
    let (gates, early, states) = (cell.gates(), cell.early_gates(), cell.states());
    let (mut x, mut r) = (zeros(), zeros());
    let mut state = zeros();
    for first in (0..hidden).step_by(LANES) {
        load(&mut x, gates, row.x, hidden, first);
        load(&mut r, early, row.r, hidden, first);
        load(&mut state, states, row.state, hidden, first);
        let mut inner = [F::zero(); LANES];
        for (lane, inner) in inner.iter_mut().enumerate() {
            let (x, r, state) = (
                unit(&x, gates, lane),
                unit(&r, early, lane),
                unit(&state, states, lane),
            );
            *inner = cell.inner(Inner {
                x: &x[..gates],
                r: &r[..early],
                state: &state[..states],
            });
        }
        let to = &mut row.inner[first..];
        let units = to.len().min(LANES);
        to[..units].copy_from_slice(&inner[..units]);
    }
}

#[inline(always)]
fn inner_backward_row<C: Cell, F: Real>(cell: &C, row: InnerBackwardRow<'_, F>) {
    let hidden = row.d_inner.len();
    let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
    let (mut saved, mut d_state) = (zeros(), zeros());
    let (mut d_x, mut d_r) = (zeros(), zeros());
    let mut d_r_planes = row.d_r;
    for first in (0..hidden).step_by(LANES) {
        load(&mut saved, kept, row.saved, hidden, first);
        let from = &row.d_inner[first..];
        let units = from.len().min(LANES);
        let mut d_inner = [F::zero(); LANES];
        d_inner[..units].copy_from_slice(&from[..units]);
        for (lane, d_inner) in d_inner.into_iter().enumerate() {
            let saved = unit(&saved, kept, lane);
            let mut old = [F::zero(); MAX_COUNT];
            let (mut x, mut r) = (old, old);
            cell.inner_backward(InnerBackward {
                saved: &saved[..kept],
                d_inner,
                d_state: &mut old[..states],
                d_x: &mut x[..gates],
                d_r: &mut r[..gates],
            });
            set_unit(&mut d_state, states, lane, &old);
            set_unit(&mut d_x, gates, lane, &x);
            set_unit(&mut d_r, gates, lane, &r);
        }
        add(&d_state, states, row.d_state, hidden, first);
        add(&d_x, gates, row.d_x, hidden, first);
        if let Some(planes) = d_r_planes.as_deref_mut() {
            add(&d_r, gates, planes, hidden, first);
        }
    }
}
