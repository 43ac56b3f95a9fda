//! Cells behind a pointer, applied to whole rows.

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
                Arch::new().dispatch(Vectorised(|| forward_row(self, row)));
            }
            fn forward_f64(&self, row: ForwardRow<'_, f64>) {
                forward_row(self, row);
            }
            fn backward_f32(&self, row: BackwardRow<'_, f32>) {
                Arch::new().dispatch(Vectorised(|| backward_row(self, row)));
            }
            fn backward_f64(&self, row: BackwardRow<'_, f64>) {
                backward_row(self, row);
            }
            fn inner_f32(&self, row: InnerRow<'_, f32>) {
                Arch::new().dispatch(Vectorised(|| inner_row(self, row)));
            }
            fn inner_f64(&self, row: InnerRow<'_, f64>) {
                inner_row(self, row);
            }
            fn inner_backward_f32(&self, row: InnerBackwardRow<'_, f32>) {
                Arch::new().dispatch(Vectorised(|| inner_backward_row(self, row)));
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

/// Compiles a function anew for each set of vector instructions that processors have; the processor's own is taken.
struct Vectorised<F>(F);

impl<F: FnOnce()> WithSimd for Vectorised<F> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        (self.0)();
    }
}

/// Units that are worked on at once: what a cell computes of one unit is a loop over them, which vector instructions take.
const LANES: usize = 16;

/// The values of some units, gathered from planes.
struct Block<F> {
    values: [[F; LANES]; MAX_COUNT],
    count: usize,
}

impl<F: Real> Block<F> {
    #[inline(always)]
    fn zeros(count: usize) -> Self {
        let values = [[F::zero(); LANES]; MAX_COUNT];
        Self { values, count }
    }

    /// Takes units `first ..` of every plane, as many as there are.
    #[inline(always)]
    fn load(&mut self, planes: &[F], hidden: usize, first: usize) {
        for plane in 0..self.count {
            let from = &planes[plane * hidden..(plane + 1) * hidden][first..];
            match from.first_chunk::<LANES>() {
                Some(from) => self.values[plane] = *from,
                None => self.values[plane][..from.len()].copy_from_slice(from),
            }
        }
    }

    #[inline(always)]
    fn store(&self, planes: &mut [F], hidden: usize, first: usize) {
        for plane in 0..self.count {
            let to = &mut planes[plane * hidden..(plane + 1) * hidden][first..];
            match to.first_chunk_mut::<LANES>() {
                Some(to) => *to = self.values[plane],
                None => {
                    let count = to.len();
                    to.copy_from_slice(&self.values[plane][..count]);
                }
            }
        }
    }

    #[inline(always)]
    fn add(&self, planes: &mut [F], hidden: usize, first: usize) {
        for plane in 0..self.count {
            let to = &mut planes[plane * hidden..(plane + 1) * hidden][first..];
            to.iter_mut()
                .zip(&self.values[plane])
                .for_each(|(to, value)| *to += *value);
        }
    }

    /// One unit's values.
    #[inline(always)]
    fn lane(&self, lane: usize) -> [F; MAX_COUNT] {
        let mut unit = [F::zero(); MAX_COUNT];
        let planes = self.values[..self.count].iter();
        unit.iter_mut()
            .zip(planes)
            .for_each(|(value, plane)| *value = plane[lane]);
        unit
    }

    #[inline(always)]
    fn set_lane(&mut self, lane: usize, unit: &[F; MAX_COUNT]) {
        let planes = self.values[..self.count].iter_mut();
        planes
            .zip(unit)
            .for_each(|(plane, value)| plane[lane] = *value);
    }
}

#[inline(always)]
fn forward_row<C: Cell, F: Real>(cell: &C, row: ForwardRow<'_, F>) {
    let (gates, states) = (cell.gates(), cell.states());
    let (diagonals, kept) = (cell.diagonals(), cell.saved());
    let hidden = row.state.len() / states;
    let (mut x, mut r) = (Block::zeros(gates), Block::zeros(gates));
    let mut diagonal = Block::zeros(diagonals);
    let (mut state, mut saved) = (Block::zeros(states), Block::zeros(kept));
    let mut planes = row.saved;
    for first in (0..hidden).step_by(LANES) {
        x.load(row.x, hidden, first);
        r.load(row.r, hidden, first);
        diagonal.load(row.diagonal, hidden, first);
        state.load(row.state, hidden, first);
        for lane in 0..LANES {
            let (x, r, diagonal) = (x.lane(lane), r.lane(lane), diagonal.lane(lane));
            let (mut new, mut keep) = (state.lane(lane), [F::zero(); MAX_COUNT]);
            cell.forward(Forward {
                x: &x[..gates],
                r: &r[..gates],
                diagonal: &diagonal[..diagonals],
                state: &mut new[..states],
                saved: &mut keep[..kept],
            });
            state.set_lane(lane, &new);
            saved.set_lane(lane, &keep);
        }
        state.store(row.state, hidden, first);
        if let Some(planes) = planes.as_deref_mut() {
            saved.store(planes, hidden, first);
        }
    }
}

#[inline(always)]
fn backward_row<C: Cell, F: Real>(cell: &C, row: BackwardRow<'_, F>) {
    let (gates, states) = (cell.gates(), cell.states());
    let (diagonals, kept) = (cell.diagonals(), cell.saved());
    let hidden = row.d_state.len() / states;
    let (mut saved, mut diagonal) = (Block::zeros(kept), Block::zeros(diagonals));
    let mut d_state = Block::zeros(states);
    let (mut d_x, mut d_r) = (Block::zeros(gates), Block::zeros(gates));
    let mut d_diagonal = Block::zeros(diagonals);
    let mut d_r_planes = row.d_r;
    for first in (0..hidden).step_by(LANES) {
        saved.load(row.saved, hidden, first);
        diagonal.load(row.diagonal, hidden, first);
        d_state.load(row.d_state, hidden, first);
        for lane in 0..LANES {
            let (saved, diagonal) = (saved.lane(lane), diagonal.lane(lane));
            let mut old = d_state.lane(lane);
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
            d_state.set_lane(lane, &old);
            d_x.set_lane(lane, &x);
            d_r.set_lane(lane, &r);
            d_diagonal.set_lane(lane, &of_diagonal);
        }
        d_state.store(row.d_state, hidden, first);
        d_x.store(row.d_x, hidden, first);
        if let Some(planes) = d_r_planes.as_deref_mut() {
            d_r.store(planes, hidden, first);
        }
        d_diagonal.add(row.d_diagonal, hidden, first);
    }
}

#[inline(always)]
fn inner_row<C: Cell, F: Real>(cell: &C, row: InnerRow<'_, F>) {
    let hidden = row.inner.len();
    let (gates, early, states) = (cell.gates(), cell.early_gates(), cell.states());
    let (mut x, mut r) = (Block::zeros(gates), Block::zeros(early));
    let (mut state, mut inner) = (Block::zeros(states), Block::zeros(1));
    for first in (0..hidden).step_by(LANES) {
        x.load(row.x, hidden, first);
        r.load(row.r, hidden, first);
        state.load(row.state, hidden, first);
        for lane in 0..LANES {
            let (x, r, state) = (x.lane(lane), r.lane(lane), state.lane(lane));
            inner.values[0][lane] = cell.inner(Inner {
                x: &x[..gates],
                r: &r[..early],
                state: &state[..states],
            });
        }
        inner.store(row.inner, hidden, first);
    }
}

#[inline(always)]
fn inner_backward_row<C: Cell, F: Real>(cell: &C, row: InnerBackwardRow<'_, F>) {
    let hidden = row.d_inner.len();
    let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
    let (mut saved, mut d_inner) = (Block::zeros(kept), Block::zeros(1));
    let mut d_state = Block::zeros(states);
    let (mut d_x, mut d_r) = (Block::zeros(gates), Block::zeros(gates));
    let mut d_r_planes = row.d_r;
    for first in (0..hidden).step_by(LANES) {
        saved.load(row.saved, hidden, first);
        d_inner.load(row.d_inner, hidden, first);
        for lane in 0..LANES {
            let saved = saved.lane(lane);
            let mut old = [F::zero(); MAX_COUNT];
            let (mut x, mut r) = (old, old);
            cell.inner_backward(InnerBackward {
                saved: &saved[..kept],
                d_inner: d_inner.values[0][lane],
                d_state: &mut old[..states],
                d_x: &mut x[..gates],
                d_r: &mut r[..gates],
            });
            d_state.set_lane(lane, &old);
            d_x.set_lane(lane, &x);
            d_r.set_lane(lane, &r);
        }
        d_state.add(row.d_state, hidden, first);
        d_x.add(row.d_x, hidden, first);
        if let Some(planes) = d_r_planes.as_deref_mut() {
            d_r.add(planes, hidden, first);
        }
    }
}
