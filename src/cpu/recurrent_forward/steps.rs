//! The walk of some rows of a direction.

use super::{Outputs, Products};
use crate::cpu::input_product::XGates;
use crate::cpu::recurrent::{CONTIGUOUS, GateProducts, LayerDirection, Scratch};
use crate::cpu::states::States;
use crate::cpu::team::Team;
use crate::cpu::zoneout::Keep;
use crate::panels::{Aligned, Panels, Start, aligned_zeros};
use crate::rows::{Row, RowScalar, StepRows};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use std::ops::Range;
use std::sync::Arc;

/// What a walk of some rows works in.
pub(super) struct Room<F> {
    /// r of all rows for a panel of units.
    of_panel: Aligned<F>,
    /// r, `[b, width]`
    r: Array2<F>,
    scratch: Option<Scratch<F>>,
    /// The projection's output, `[b, width]`.
    projected: Option<Array2<F>>,
    /// The states before a step, where they are needed after it.
    before: Option<States<F>>,
    keep: Option<Keep<F>>,
    /// `[b]`
    has_step: Vec<bool>,
}

impl<F: RowScalar> LayerDirection<'_, F> {
    /// What a walk of some rows from these states works in.
    pub(super) fn room(
        &self,
        products: &Products<'_, F>,
        batch: usize,
        states: &States<F>,
    ) -> Room<F> {
        let (of_panel, width, scratch) = match products {
            Products::ByUnits { weights, .. } => (batch * weights.panel_width(), 0, None),
            Products::ByGates(gates, _) => (0, gates.width(), Some(gates.scratch(batch))),
        };
        let keeps = self.zoneout.is_some() || matches!(products, Products::ByUnits { .. });
        let projected = |weights: &Arc<Panels<F>>| Array2::zeros((batch, weights.width()));
        Room {
            of_panel: aligned_zeros(of_panel),
            r: Array2::zeros((batch, width)),
            scratch,
            projected: self.projection.as_ref().map(projected),
            before: keeps.then(|| states.clone()),
            keep: self.zoneout.map(|zoneout| zoneout.room()),
            has_step: vec![true; batch],
        }
    }

    /// Walks some steps of some rows.
    pub(super) fn forward(
        &self,
        (products, team, room): (&Products<'_, F>, Option<&Team<'_, F>>, &mut Room<F>),
        (steps, rows): (Range<usize>, &Range<usize>),
        x_gates: &mut XGates<'_, F>,
        states: &mut States<F>,
        outputs: &mut Outputs<'_, F>,
    ) {
        let batch = rows.len();
        let hidden = self.shape.hidden;
        let lengths = &self.lengths[rows.clone()];
        for step in steps {
            let t = self.time(step);
            let live = |row: &usize| t < lengths[*row];
            if team.is_none() {
                x_gates.prepare(step, t);
            }
            let x = x_gates.at(step, t);
            let mut y = outputs.y.index_axis_mut(Axis(0), t);
            let mut inner = outputs.inner.as_mut().map(|v| v.index_axis_mut(Axis(0), t));
            if !(0..batch).all(|row| live(&row)) {
                y.fill(F::zero());
                inner.iter_mut().for_each(|inner| inner.fill(F::zero()));
            }
            if !(0..batch).any(|row| live(&row)) {
                continue;
            }
            let saved = outputs.saved.as_mut().map(|s| s.index_axis_mut(Axis(1), t));
            match products {
                Products::ByUnits {
                    cell,
                    weights,
                    bias,
                } => {
                    let before = room
                        .before
                        .as_mut()
                        .expect("a cell that takes its product has it");
                    std::mem::swap(before, states);
                    for (row, has_step) in room.has_step.iter_mut().enumerate() {
                        *has_step = live(&row);
                        if !*has_step {
                            states.cell.row_mut(row).assign(&before.cell.row(row));
                        }
                    }
                    cell.step_rows(StepRows {
                        weights,
                        bias,
                        diagonal: &self.diagonal,
                        back: step % 2 == 1,
                        x,
                        before: before.cell.view(),
                        state: states.cell.view_mut(),
                        saved,
                        live: &room.has_step,
                        r: &mut room.of_panel,
                    });
                }
                Products::ByGates(gates, bias) => {
                    if let Some(before) = &mut room.before {
                        before.copy_from(states);
                    }
                    let inner = inner.as_mut();
                    self.step_by_gates(
                        (gates, bias, team),
                        (rows, &live),
                        x,
                        states,
                        (inner, saved),
                        room,
                    );
                }
            }
            // With a projection the cell's first state is m, and h = W_hr m.
            if let (Some(weights), Some(projected)) = (&self.projection, &mut room.projected) {
                let m = states.cell.slice(s![.., ..hidden]);
                if let Some(inner) = &mut inner {
                    for row in (0..batch).filter(live) {
                        inner.row_mut(row).assign(&m.row(row));
                    }
                }
                weights.product_to(m, Start::Zero, projected);
                for row in (0..batch).filter(live) {
                    let h = states.row_mut(0, row);
                    let projected = projected.row(row).to_slice().expect(CONTIGUOUS);
                    h.copy_from_slice(&projected[..h.len()]);
                }
            }
            for row in (0..batch).filter(live) {
                let Room { before, keep, .. } = &mut *room;
                if let (Some(before), Some(zoneout), Some(keep)) = (before, &self.zoneout, keep) {
                    zoneout.draw(keep, (self.direction, t, rows.start + row));
                    self.zone_out(states, row, keep, before);
                }
                let y = y.row_mut(row).into_slice().expect(CONTIGUOUS);
                y.copy_from_slice(states.row_mut(0, row));
            }
        }
    }

    /// Computes r, then v and what r owes to it, then the cell, of the rows that have the step.
    /// `inner`: v `[b, H]`; `saved`: `[b, K·H]`.
    fn step_by_gates(
        &self,
        (products, bias, team): (&GateProducts<'_, F>, &[F], Option<&Team<'_, F>>),
        (rows, live): (&Range<usize>, &impl Fn(&usize) -> bool),
        x: ArrayView2<'_, F>,
        states: &mut States<F>,
        (inner, mut saved): (
            Option<&mut ArrayViewMut2<'_, F>>,
            Option<ArrayViewMut2<'_, F>>,
        ),
        room: &mut Room<F>,
    ) {
        let (early, gates) = (self.cell.early_gates(), self.cell.gates());
        let gate_width = gates * self.shape.hidden;
        let Some(scratch) = &mut room.scratch else {
            return;
        };
        let r = &mut room.r;
        if let Some(team) = team {
            let stride = r.ncols();
            team.product(states.h(), r.as_slice_mut().expect(CONTIGUOUS), stride);
        } else {
            products.begin(rows, 0..early, (states.h(), bias), r, scratch);
        }
        if let Some(inner) = inner.filter(|_| early < gates) {
            for row in (0..rows.len()).filter(live) {
                self.cell.rows::<F>().apply(Row::Inner {
                    x: &x.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                    r: &r.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                    state: states.cell.row(row).to_slice().expect(CONTIGUOUS),
                    inner: inner.row_mut(row).into_slice().expect(CONTIGUOUS),
                });
            }
            products.add(rows, early..gates, inner.view(), r, scratch);
        }
        for row in (0..rows.len()).filter(live) {
            let mut saved = saved.as_mut().map(|saved| saved.row_mut(row));
            self.cell.rows::<F>().apply(Row::Forward {
                x: &x.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                r: &r.row(row).to_slice().expect(CONTIGUOUS)[..gate_width],
                diagonal: &self.diagonal,
                state: states.cell.row_mut(row).into_slice().expect(CONTIGUOUS),
                saved: saved.as_mut().map(|s| s.as_slice_mut().expect(CONTIGUOUS)),
            });
        }
    }

    /// new = (1 − m) old + m computed, of every state of a row.
    fn zone_out(&self, states: &mut States<F>, row: usize, keep: &Keep<F>, before: &States<F>) {
        for state in 0..self.cell.states() {
            let units = states
                .row_mut(state, row)
                .iter_mut()
                .zip(before.row(state, row));
            for ((new, old), keep) in units.zip(keep.of(state)) {
                // Not old + m (computed − old), which loses the digits of a small computed state.
                *new = (F::one() - *keep) * *old + *keep * *new;
            }
        }
    }
}
