//! What must hold of the operations of a recurrent layer.

use super::operands::{Access, Check, Operands, check_count, ensure};
use super::{
    GatesLayout, RecurrentBackward, RecurrentForward, RecurrentOp, RecurrentOperands,
    RecurrentShape, Segment, Zoneout, product,
};
use crate::cell::Counts;
use crate::philox::RNG_LEN;

impl RecurrentForward {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let (cell, shape) = (&self.cell, &self.shape);
        let recurrence = self.operands();
        recurrence.check_sizes()?;
        let (rows, hidden) = (shape.rows(), shape.hidden);
        let x_gates = product(&[rows, cell.gates(), hidden]);
        if self.products.is_empty() {
            o.read("x_gates", self.x_gates, x_gates)?;
        } else {
            o.write("x_gates", self.x_gates, x_gates)?;
            self.check_products(o)?;
        }
        recurrence.read(o)?;
        let states = shape.state_offset(cell.states());
        o.read("initial", self.initial, states)?;
        o.write("last", self.last, states)?;
        o.write("y", self.y, product(&[rows, shape.output]))?;
        o.write("saved", self.saved, product(&[rows, hidden, cell.saved()]))?;
        let projected = self.weights.weight_hr.is_some();
        let len = Self::inner_len(cell, shape, projected);
        match self.inner {
            Some(inner) => o.share(Access::Write, "inner", inner, len, self.saved),
            None => ensure(len == 0, || "inner is missing".into()),
        }
    }

    /// The input products are those of x_gates, one a direction.
    fn check_products(&self, o: &mut Operands<'_>) -> Check {
        let shape = &self.shape;
        let (count, directions) = (self.products.len(), shape.directions);
        ensure(count == directions, || {
            format!("{count} input products for {directions} directions")
        })?;
        let width = self.cell.gates() * shape.hidden;
        let all = (self.x_gates).matrix(shape.steps * shape.batch, directions * width);
        for (direction, product) in self.products.iter().enumerate() {
            let form = (product.transpose_a, product.transpose_b, product.accumulate);
            let part = all.columns(direction * width, width);
            ensure(form == (false, true, false) && product.c == part, || {
                format!("input product {direction} is not x Wᵀ + b into its part of x_gates")
            })?;
            product.check_inputs(o)?;
        }
        Ok(())
    }
}

impl RecurrentBackward {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let (cell, shape) = (&self.cell, &self.shape);
        let recurrence = self.operands();
        recurrence.check_sizes()?;
        recurrence.read(o)?;
        let (rows, hidden) = (shape.rows(), shape.hidden);
        o.read("saved", self.saved, product(&[rows, hidden, cell.saved()]))?;
        o.read("d_y", self.d_y, product(&[rows, shape.output]))?;
        let diagonal = product(&[shape.directions, shape.batch, cell.diagonals(), hidden]);
        let states = shape.state_offset(cell.states());
        o.write("d_state", self.d_state, states.saturating_add(diagonal))?;
        let projected = self.weights.weight_hr.is_some();
        let layout = GatesLayout::new(cell, shape, projected);
        o.write("d_gates", self.d_gates, layout.len)
    }
}

impl RecurrentOperands<'_> {
    fn check_cell(&self) -> Check {
        match Counts::shared(self.cell).outside().first() {
            Some((name, count, least, most)) => {
                let cell = self.cell.name();
                Err(format!(
                    "cell {cell} has {count} {name}, not {least} to {most}"
                ))
            }
            None => Ok(()),
        }
    }

    fn check_sizes(&self) -> Check {
        self.check_cell()?;
        let RecurrentShape {
            steps,
            batch,
            hidden,
            output,
            directions,
        } = self.shape;
        let some = steps > 0 && batch > 0 && hidden > 0 && output > 0;
        ensure(some, || {
            format!("T {steps}, B {batch}, H {hidden}, P {output}: each must be at least 1")
        })?;
        let Segment { first, total } = self.segment;
        ensure(first.saturating_add(steps) <= total, || {
            format!("{steps} steps from {first} on end past the sequence's {total}")
        })?;
        ensure((1..=2).contains(&directions), || {
            format!("directions is {directions}, not 1 or 2")
        })?;
        let (cell, weights) = (self.cell, &self.weights);
        for width in [hidden, output] {
            let rows = [steps, batch, directions, cell.gates(), width];
            check_count("the gates of all steps", &rows)?;
        }
        check_count("weight_hh", &[cell.gates(), hidden, output])?;
        let projected = weights.weight_hr.is_some();
        ensure(projected || output == hidden, || {
            format!("P {output} is not H {hidden} without weight_hr")
        })?;
        ensure(!(projected && cell.has_late_gates()), || {
            format!(
                "cell {} has late gates and cannot be projected",
                cell.name()
            )
        })?;
        let (name, diagonals) = (cell.name(), cell.diagonals());
        ensure(weights.weight_diag.is_some() == (diagonals > 0), || {
            format!(
                "weight_diag must be present iff the cell has diagonal weights; {name} has {diagonals}"
            )
        })
    }

    /// Adds the weights, the mask, and what is there for each row.
    fn read(&self, o: &mut Operands<'_>) -> Check {
        let (shape, cell, weights) = (&self.shape, self.cell, &self.weights);
        let (hidden, output) = (shape.hidden, shape.output);
        let gates = cell.gates() * hidden;
        for (name, weight, len) in [
            ("weight_hh", Some(weights.weight_hh), gates * output),
            ("bias_hh", weights.bias_hh, gates),
            ("weight_hr", weights.weight_hr, output * hidden),
            (
                "weight_diag",
                weights.weight_diag,
                cell.diagonals() * hidden,
            ),
        ] {
            for direction in 0..shape.directions {
                o.read(name, weight.map(|weight| weight.of(direction)), len)?;
            }
        }
        let rows = shape.batch * shape.directions;
        o.read("mask", self.mask, rows * cell.gates() * output)?;
        o.read("lengths", self.lengths, shape.batch)?;
        let Some(Zoneout { rates, random }) = self.zoneout else {
            return Ok(());
        };
        for rate in rates {
            ensure((0.0..1.0).contains(&rate), || {
                format!("zoneout is {rate}, not 0 to below 1")
            })?;
        }
        let Some((rng, _)) = random else {
            return Ok(());
        };
        let rows = self.segment.total.saturating_mul(rows);
        let elements = rows.saturating_mul(hidden.max(output));
        ensure(elements <= u32::MAX as usize, || {
            format!("{elements} elements are more than zoneout can number")
        })?;
        o.share(Access::Read, "rng", rng, RNG_LEN, self.lengths)
    }
}
