// What follows from the product in recurrent_backward: the cell, zoneout, and the stores.

fn saved_values(direction: u32, t: u32, b: u32, unit: u32) -> array<f32, SAVED> {
    let plane = params.directions * params.steps * params.batch * params.hidden;
    let at = params.saved + ((direction * params.steps + t) * params.batch + b) * params.hidden + unit;
    var values: array<f32, SAVED>;
    for (var k = 0u; k < SAVED; k++) {
        values[k] = saved[at + k * plane];
    }
    return values;
}

// What follows from the product, for one unit of one row; past: whether the row is past its length.
fn finish(which: u32, product: f32, at: Place, t: u32, b: u32, unit: u32, past: bool) {
    let direction = at.direction;
    let place = (t * params.batch + b) * params.directions + direction;
    // With a projection the cell does not know h, and PROJECT has only h.
    let first_state = select(0u, 1u, which == CELL);
    let end_state = select(STATES, 1u, which == PROJECT);
    var in: CellBackIn;
    for (var s = first_state; s < end_state; s++) {
        in.d_state[s] = take(at.fresh, state_at(params.output, s, direction, b, unit));
    }
    in.d_state[0] += product;
    if AFTER_FIRST {
        leave(state_at(params.output, 0u, direction, b, unit), in.d_state[0]);
        return;
    }
    if past {
        for (var s = first_state; s < end_state; s++) {
            leave(state_at(params.output, s, direction, b, unit), in.d_state[s]);
        }
        finish_past(which, place, at, b, unit);
        return;
    }
    if which != CELL {
        in.d_state[0] += d_y[params.d_y + place * params.output + unit];
    }
    // What zoneout passes to the old states, past the cell.
    var passed: array<f32, STATES>;
    if ZONEOUT {
        let keep = zoneout_keep(direction, t, b, unit);
        for (var s = first_state; s < end_state; s++) {
            let m = select(keep.x, keep.y, s > 0u);
            passed[s] = (1.0 - m) * in.d_state[s];
            in.d_state[s] *= m;
        }
    }
    if which == PROJECT {
        d_gates[params.d_h + place * params.output + unit] = in.d_state[0];
        leave(state_at(params.output, 0u, direction, b, unit), passed[0]);
        return;
    }
    in.saved = saved_values(direction, t, b, unit);
    for (var v = 0u; v < DIAGONALS; v++) {
        in.diagonal[v] = packed(params.diagonal + (direction * DIAGONALS + v) * params.hidden + unit);
    }
    let result = cell_backward(in);
    for (var s = first_state; s < STATES; s++) {
        leave(state_at(params.output, s, direction, b, unit), result.d_before[s] + passed[s]);
    }
    for (var gate = 0u; gate < GATES; gate++) {
        let gate_at = (place * GATES + gate) * params.hidden + unit;
        d_gates[params.d_r + gate_at] = result.d_r[gate];
        leave(d_r_at(direction, b, gate, unit), result.d_r[gate]);
        if !SHARED_GRADIENT {
            d_gates[params.d_x + gate_at] = result.d_x[gate];
        }
    }
    for (var v = 0u; v < DIAGONALS; v++) {
        let sum_at = d_diagonal_at(v, direction, b, unit);
        leave(sum_at, take(at.fresh, sum_at) + result.d_diagonal[v]);
    }
}

fn d_diagonal_at(v: u32, direction: u32, b: u32, unit: u32) -> u32 {
    return params.d_diagonal + ((direction * params.batch + b) * DIAGONALS + v) * params.hidden + unit;
}

// A row past its length has no gradients, and hands on the sums over time.
fn finish_past(which: u32, place: u32, at: Place, b: u32, unit: u32) {
    let direction = at.direction;
    if which == PROJECT {
        d_gates[params.d_h + place * params.output + unit] = 0.0;
        return;
    }
    for (var gate = 0u; gate < GATES; gate++) {
        let gate_at = (place * GATES + gate) * params.hidden + unit;
        d_gates[params.d_r + gate_at] = 0.0;
        leave(d_r_at(direction, b, gate, unit), 0.0);
        if !SHARED_GRADIENT {
            d_gates[params.d_x + gate_at] = 0.0;
        }
    }
    for (var v = 0u; v < DIAGONALS; v++) {
        let sum_at = d_diagonal_at(v, direction, b, unit);
        leave(sum_at, take(at.fresh, sum_at));
    }
}

// Adds what the gradient of v brings.
fn finish_inner(d_inner: f32, direction: u32, t: u32, b: u32, unit: u32, past: bool) {
    if past {
        return;
    }
    let place = (t * params.batch + b) * params.directions + direction;
    let result = cell_inner_backward(saved_values(direction, t, b, unit), d_inner);
    for (var s = 0u; s < STATES; s++) {
        let at = state_at(params.output, s, direction, b, unit);
        leave(at, after[leave_to + at] + result.d_before[s]);
    }
    for (var gate = 0u; gate < EARLY_GATES; gate++) {
        let gate_at = (place * GATES + gate) * params.hidden + unit;
        let d_r = d_gates[params.d_r + gate_at] + result.d_r[gate];
        d_gates[params.d_r + gate_at] = d_r;
        leave(d_r_at(direction, b, gate, unit), d_r);
        if !SHARED_GRADIENT {
            d_gates[params.d_x + gate_at] += result.d_x[gate];
        }
    }
}
