//! What must hold of the operations of a recurrent layer.

use super::operands::{Check, Operands};
use super::{
    Cost, GatesLayout, RecurrentBackward, RecurrentForward, RecurrentShape, RecurrentWeights,
    Segment, Slice, Zoneout, cost,
};
use crate::CellRef;
use crate::cell::MAX_COUNT;
use crate::philox::RNG_LEN;

fn cell_counts(cell: &CellRef) -> Check {
    for (name, count, least) in [
        ("gates", cell.gates(), 1),
        ("states", cell.states(), 1),
        ("saved values", cell.saved(), 1),
        ("diagonal weights", cell.diagonals(), 0),
    ] {
        if !(least..=MAX_COUNT).contains(&count) {
            return Err(format!(
                "cell {} has {count} {name}, not {least} to {MAX_COUNT}",
                cell.name()
            ));
        }
    }
    if !(1..=cell.gates()).contains(&cell.early_gates()) {
        return Err(format!(
            "cell {} has {} early gates, not 1 to {}",
            cell.name(),
            cell.early_gates(),
            cell.gates()
        ));
    }
    Ok(())
}

fn recurrent_shape(
    cell: &CellRef,
    shape: &RecurrentShape,
    segment: &Segment,
    weights: &RecurrentWeights,
) -> Check {
    cell_counts(cell)?;
    let RecurrentShape {
        steps,
        batch,
        hidden,
        output,
        directions,
    } = *shape;
    if steps == 0 || batch == 0 || hidden == 0 || output == 0 {
        return Err(format!(
            "T {steps}, B {batch}, H {hidden}, P {output}: each must be at least 1"
        ));
    }
    if segment.first.saturating_add(steps) > segment.total {
        return Err(format!(
            "{steps} steps from {} on end past the sequence's {}",
            segment.first, segment.total
        ));
    }
    if !(1..=2).contains(&directions) {
        return Err(format!("directions is {directions}, not 1 or 2"));
    }
    if weights.weight_hr.is_none() && output != hidden {
        return Err(format!("P {output} is not H {hidden} without weight_hr"));
    }
    if weights.weight_hr.is_some() && cell.has_late_gates() {
        return Err(format!(
            "cell {} has late gates and cannot be projected",
            cell.name()
        ));
    }
    if weights.weight_diag.is_some() != (cell.diagonals() > 0) {
        return Err(format!(
            "weight_diag must be present iff the cell has diagonal weights; {} has {}",
            cell.name(),
            cell.diagonals()
        ));
    }
    Ok(())
}

fn read_weights(
    o: &mut Operands<'_>,
    cell: &CellRef,
    shape: &RecurrentShape,
    weights: &RecurrentWeights,
) -> Check {
    let (directions, hidden) = (shape.directions, shape.hidden);
    let gate_width = cell.gates() * hidden;
    let weight_hh = weights.weight_hh;
    o.read_per_direction(
        "weight_hh",
        weight_hh,
        gate_width * shape.output,
        directions,
    )?;
    for (name, weight, len) in [
        ("bias_hh", weights.bias_hh, gate_width),
        ("weight_hr", weights.weight_hr, shape.output * hidden),
        (
            "weight_diag",
            weights.weight_diag,
            cell.diagonals() * hidden,
        ),
    ] {
        if let Some(weight) = weight {
            o.read_per_direction(name, weight, len, directions)?;
        }
    }
    Ok(())
}

fn read_rows(
    o: &mut Operands<'_>,
    shape: &RecurrentShape,
    segment: &Segment,
    lengths: Option<Slice>,
    zoneout: Option<Zoneout>,
) -> Check {
    o.read_optional("lengths", lengths, shape.batch)?;
    let Some(zoneout) = zoneout else {
        return Ok(());
    };
    zoneout
        .rates
        .iter()
        .try_for_each(|zoneout| rate("zoneout", *zoneout))?;
    let rows = (segment.total).saturating_mul(shape.batch * shape.directions);
    let elements = rows.saturating_mul(shape.hidden.max(shape.output));
    if zoneout.random.is_some() && elements > u32::MAX as usize {
        return Err(format!(
            "{elements} elements are more than zoneout can number"
        ));
    }
    match (zoneout.random, lengths) {
        (Some((rng, _)), None) => o.read("rng", rng, RNG_LEN),
        (Some((rng, _)), lengths) => o.shares("rng", rng, lengths, RNG_LEN),
        (None, _) => Ok(()),
    }
}

impl RecurrentForward {
    /// What it takes with its input products, whose results are not moved.
    pub(super) fn cost(&self) -> Cost {
        let products = self.products.iter().map(super::Gemm::cost);
        products.fold(self.own_cost(), Cost::with_product)
    }

    /// What it takes besides its input products.
    pub(crate) fn own_cost(&self) -> Cost {
        cost::recurrent_forward(self)
    }

    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        recurrent_forward(o, self)
    }
}

impl RecurrentBackward {
    pub(super) fn cost(&self) -> Cost {
        cost::recurrent_backward(self)
    }

    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        recurrent_backward(o, self)
    }
}

/// `Ok` for a probability below 1.
fn rate(name: &str, rate: f64) -> Check {
    if (0.0..1.0).contains(&rate) {
        Ok(())
    } else {
        Err(format!("{name} is {rate}, not 0 to below 1"))
    }
}

fn recurrent_forward(o: &mut Operands<'_>, op: &RecurrentForward) -> Check {
    let (cell, shape, weights) = (&op.cell, &op.shape, &op.weights);
    recurrent_shape(cell, shape, &op.segment, weights)?;
    let (rows, hidden) = (shape.rows(), shape.hidden);
    let states = shape.state_offset(cell.states());
    let mask = shape.directions * shape.batch * cell.gates() * shape.output;
    let x_gates = rows * cell.gates() * hidden;
    if op.products.is_empty() {
        o.read("x_gates", op.x_gates, x_gates)?;
    } else {
        o.write("x_gates", op.x_gates, x_gates)?;
        check_products(o, op)?;
    }
    read_weights(o, cell, shape, weights)?;
    o.read_optional("mask", op.mask, mask)?;
    read_rows(o, shape, &op.segment, op.lengths, op.zoneout)?;
    o.read_optional("initial", op.initial, states)?;
    o.write("last", op.last, states)?;
    o.write("y", op.y, rows * shape.output)?;
    o.write_optional("saved", op.saved, rows * hidden * cell.saved())?;
    let inner_len = RecurrentForward::inner_len(cell, shape, weights.weight_hr.is_some());
    match (op.inner, op.saved) {
        (None, _) if inner_len == 0 => Ok(()),
        (None, _) => Err("inner is missing".into()),
        (Some(inner), None) => o.write("inner", inner, inner_len),
        (Some(inner), saved) => o.shares("inner", inner, saved, inner_len),
    }
}

fn recurrent_backward(o: &mut Operands<'_>, op: &RecurrentBackward) -> Check {
    let (cell, shape, weights) = (&op.cell, &op.shape, &op.weights);
    recurrent_shape(cell, shape, &op.segment, weights)?;
    let (rows, hidden) = (shape.rows(), shape.hidden);
    let diagonal = shape.directions * shape.batch * cell.diagonals() * hidden;
    let mask = shape.directions * shape.batch * cell.gates() * shape.output;
    read_weights(o, cell, shape, weights)?;
    o.read_optional("mask", op.mask, mask)?;
    read_rows(o, shape, &op.segment, op.lengths, op.zoneout)?;
    o.read("saved", op.saved, rows * hidden * cell.saved())?;
    o.read("d_y", op.d_y, rows * shape.output)?;
    let states = shape.state_offset(cell.states());
    o.write("d_state", op.d_state, states + diagonal)?;
    let layout = GatesLayout::new(cell, shape, weights.weight_hr.is_some());
    o.write("d_gates", op.d_gates, layout.len)
}

/// The input products are those of x_gates, one a direction.
fn check_products(o: &mut Operands<'_>, op: &RecurrentForward) -> Check {
    let shape = &op.shape;
    if op.products.len() != shape.directions {
        return Err(format!(
            "{} input products for {} directions",
            op.products.len(),
            shape.directions
        ));
    }
    let width = op.cell.gates() * shape.hidden;
    let all = (op.x_gates).matrix(shape.steps * shape.batch, shape.directions * width);
    for (direction, product) in op.products.iter().enumerate() {
        let form = (product.transpose_a, product.transpose_b, product.accumulate);
        if form != (false, true, false) || product.c != all.columns(direction * width, width) {
            return Err(format!(
                "input product {direction} is not x Wᵀ + b into its part of x_gates"
            ));
        }
        product.check_inputs(o)?;
    }
    Ok(())
}
