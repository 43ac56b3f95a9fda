//! Cells applied to rows of f32, a register of units at a time, in the best vector instructions that
//! the processor has.

use super::units::{UnitBlock, Units, apply};
use super::{Row, RowCell, STEP_ROWS, StepRows, TakesSteps};
use crate::cell::{Cell, Vector};
use crate::panels::{MOST_VECTORS, Start, single};
use ndarray::{ArrayView2, Axis};
use pulp::{Arch, Simd, WithSimd};

/// A row with its cell. A type and not a closure, as closures are not inlined into code for vector
/// instructions.
struct InVectors<'a, C, R>(&'a C, R);

impl<C: Cell> RowCell<f32> for C {
    fn takes_steps(&self) -> Option<&dyn TakesSteps<f32>> {
        let (early, gates) = (self.early_gates(), self.gates());
        // A step with its product leaves the bits of one apart only in the same instructions, and `apply` takes one number at a time then.
        let optimised = !cfg!(debug_assertions);
        (early == gates && gates <= MOST_VECTORS && optimised).then_some(self as _)
    }
    fn apply(&self, row: Row<'_, f32>) {
        let row = InVectors(self, row);
        // Code that is not optimised keeps every register of a cell's equations on the stack, which
        // overflows with large ones; it takes one number at a time.
        if cfg!(debug_assertions) {
            row.with_simd(pulp::Scalar::new());
        } else {
            Arch::new().dispatch(row);
        }
    }
}

impl<C: Cell> WithSimd for InVectors<'_, C, Row<'_, f32>> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        apply(self.0, self.1, Registers(simd));
    }
}

#[derive(Clone, Copy)]
struct Registers<S>(S);

impl<S: Simd> Units for Registers<S> {
    type Scalar = f32;
    type Lanes = Vector<S>;
    #[inline(always)]
    fn count(self) -> usize {
        S::F32_LANES
    }
    #[inline(always)]
    fn zero(self) -> Vector<S> {
        let values = self.0.splat_f32s(0.0);
        Vector {
            simd: self.0,
            values,
        }
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> Vector<S> {
        let values = match S::as_simd_f32s(from).0.first() {
            Some(values) => *values,
            None => self.0.partial_load_f32s(from),
        };
        Vector {
            simd: self.0,
            values,
        }
    }
    #[inline(always)]
    fn store(self, vector: Vector<S>, to: &mut [f32]) {
        match S::as_mut_simd_f32s(to).0.first_mut() {
            Some(to) => *to = vector.values,
            None => self.0.partial_store_f32s(to, vector.values),
        }
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
        let (h, lanes, units) = (&h[..batch], S::F32_LANES, Registers(simd));
        let (stride, count) = (gates * lanes, hidden.div_ceil(lanes));
        let of_products = UnitBlock {
            units,
            hidden: lanes,
            range: 0..lanes,
        };
        let fetches = step.weights.want_fetching(&(0..count), batch);
        for index in 0..count {
            let of_turn = |index: usize| if step.back { count - 1 - index } else { index };
            let panel = of_turn(index);
            let next = fetches.then(|| of_turn((index + 1).min(count - 1)));
            let start = Start::Row(step.bias);
            single::panel(
                simd,
                step.weights,
                (panel, gates, next),
                h,
                start,
                step.r,
                stride,
            );
            let range = panel * lanes..((panel + 1) * lanes).min(hidden);
            let block = UnitBlock {
                units,
                hidden,
                range,
            };
            let diagonal = block.load(step.diagonal, cell.diagonals());
            let products = step.r.chunks_exact(stride).enumerate().take(batch);
            for (row, products) in products.filter(|(row, _)| step.live[*row]) {
                let x = block.load(of_row(&step.x, row), gates);
                let r = of_products.load(products, gates);
                let before = block.load(of_row(&step.before, row), states);
                let state = step.state.row_mut(row).into_slice().expect(CONTIGUOUS);
                let saved = step.saved.as_mut();
                let saved = saved.map(|saved| saved.row_mut(row).into_slice().expect(CONTIGUOUS));
                block.forward(cell, [x, r, diagonal, before], state, saved);
            }
        }
    }
}
