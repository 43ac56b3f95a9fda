//! A cell's functions applied to whole rows, some units at a time.

use super::Row;
use crate::cell::{Backward, Cell, Forward, Inner, InnerBackward, Lanes, MAX_COUNT};
use std::ops::Range;

/// Units side by side: one in f64, which is the reference; in f32 those of a register.
pub(super) trait Units: Copy {
    type Scalar;
    type Lanes: Lanes;
    /// How many.
    fn count(self) -> usize;
    /// Zero for every unit.
    fn zero(self) -> Self::Lanes;
    /// The units' numbers, zeros where there are fewer.
    fn load(self, from: &[Self::Scalar]) -> Self::Lanes;
    /// The opposite of [`load`](Self::load).
    fn store(self, numbers: Self::Lanes, to: &mut [Self::Scalar]);
}

#[derive(Clone, Copy)]
pub(super) struct OneUnit;

impl Units for OneUnit {
    type Scalar = f64;
    type Lanes = f64;
    #[inline(always)]
    fn count(self) -> usize {
        1
    }
    #[inline(always)]
    fn zero(self) -> f64 {
        0.0
    }
    #[inline(always)]
    fn load(self, from: &[f64]) -> f64 {
        from[0]
    }
    #[inline(always)]
    fn store(self, number: f64, to: &mut [f64]) {
        to[0] = number;
    }
}

/// What some units have in each of up to [`MAX_COUNT`] planes.
pub(super) type Planes<U> = [<U as Units>::Lanes; MAX_COUNT];

/// Some units of planes of H: as many as stand side by side, or fewer.
pub(super) struct UnitBlock<U> {
    pub(super) units: U,
    pub(super) hidden: usize,
    pub(super) range: Range<usize>,
}

/// All H units, block by block.
#[inline(always)]
fn blocks<U: Units>(units: U, hidden: usize) -> impl Iterator<Item = UnitBlock<U>> {
    (0..hidden)
        .step_by(units.count())
        .map(move |first| UnitBlock {
            units,
            hidden,
            range: first..(first + units.count()).min(hidden),
        })
}

impl<U: Units> UnitBlock<U> {
    #[inline(always)]
    fn plane(&self, index: usize) -> Range<usize> {
        index * self.hidden + self.range.start..index * self.hidden + self.range.end
    }

    #[inline(always)]
    fn zeros(&self) -> Planes<U> {
        [self.units.zero(); MAX_COUNT]
    }

    /// The units' numbers in the first `count` planes.
    #[inline(always)]
    pub(super) fn load(&self, planes: &[U::Scalar], count: usize) -> Planes<U> {
        let mut loaded = self.zeros();
        for (index, numbers) in loaded.iter_mut().enumerate().take(count) {
            *numbers = self.units.load(&planes[self.plane(index)]);
        }
        loaded
    }

    #[inline(always)]
    fn store(&self, numbers: &[U::Lanes], planes: &mut [U::Scalar]) {
        for (index, numbers) in numbers.iter().enumerate() {
            self.units.store(*numbers, &mut planes[self.plane(index)]);
        }
    }

    /// The cell of x, r, diagonal weights and old states: new states and what is saved.
    #[inline(always)]
    pub(super) fn forward(
        &self,
        cell: &impl Cell,
        [x, r, diagonal, mut state]: [Planes<U>; 4],
        to: &mut [U::Scalar],
        keep: Option<&mut [U::Scalar]>,
    ) {
        let (gates, states, kept) = (cell.gates(), cell.states(), cell.saved());
        let mut saved = self.zeros();
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

/// Applies a cell to a row.
#[inline(always)]
pub(super) fn apply<U: Units>(cell: &impl Cell, row: Row<'_, U::Scalar>, units: U) {
    let (gates, early, states) = (cell.gates(), cell.early_gates(), cell.states());
    let (kept, diagonals) = (cell.saved(), cell.diagonals());
    match row {
        Row::Forward {
            x,
            r,
            diagonal,
            state,
            mut saved,
        } => {
            for block in blocks(units, state.len() / states) {
                let (x, r) = (block.load(x, gates), block.load(r, gates));
                let diagonal = block.load(diagonal, diagonals);
                let before = block.load(state, states);
                block.forward(cell, [x, r, diagonal, before], state, saved.as_deref_mut());
            }
        }
        Row::Backward {
            saved,
            diagonal,
            d_state: state,
            d_x: x,
            d_r: mut r,
            d_diagonal: sums,
        } => {
            for block in blocks(units, state.len() / states) {
                let mut d_state = block.load(state, states);
                let [mut d_x, mut d_r, mut d_diagonal] = [block.zeros(); 3];
                cell.backward(Backward {
                    saved: &block.load(saved, kept)[..kept],
                    diagonal: &block.load(diagonal, diagonals)[..diagonals],
                    d_state: &mut d_state[..states],
                    d_x: &mut d_x[..gates],
                    d_r: &mut d_r[..gates],
                    d_diagonal: &mut d_diagonal[..diagonals],
                });
                block.store(&d_state[..states], state);
                block.store(&d_x[..gates], x);
                if let Some(r) = r.as_deref_mut() {
                    block.store(&d_r[..gates], r);
                }
                let mut sum = block.load(sums, diagonals);
                sum.iter_mut()
                    .zip(d_diagonal)
                    .for_each(|(sum, d)| *sum += d);
                block.store(&sum[..diagonals], sums);
            }
        }
        Row::Inner { x, r, state, inner } => {
            for block in blocks(units, inner.len()) {
                let v = cell.inner(Inner {
                    x: &block.load(x, gates)[..gates],
                    r: &block.load(r, early)[..early],
                    state: &block.load(state, states)[..states],
                });
                block.store(&[v], inner);
            }
        }
        Row::InnerBackward {
            saved,
            d_inner,
            d_state: state,
            d_x: x,
            d_r: mut r,
        } => {
            for block in blocks(units, d_inner.len()) {
                let mut d_state = block.load(state, states);
                let mut d_x = block.load(x, gates);
                let d_r = r.as_deref();
                let mut d_r = d_r.map_or_else(|| block.zeros(), |r| block.load(r, gates));
                cell.inner_backward(InnerBackward {
                    saved: &block.load(saved, kept)[..kept],
                    d_inner: block.load(d_inner, 1)[0],
                    d_state: &mut d_state[..states],
                    d_x: &mut d_x[..gates],
                    d_r: &mut d_r[..gates],
                });
                block.store(&d_state[..states], state);
                block.store(&d_x[..gates], x);
                if let Some(r) = r.as_deref_mut() {
                    block.store(&d_r[..gates], r);
                }
            }
        }
    }
}
