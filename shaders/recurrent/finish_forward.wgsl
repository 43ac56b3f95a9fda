// What follows from the product in recurrent_forward: the cell, zoneout, and the stores.

// What follows from the product, for one unit of one row; past: whether the row is past its length.
fn finish(which: u32, r_product: array<f32, OUTPUTS>, at: Place, t: u32, b: u32, unit: u32, past: bool) {
    let hidden = params.hidden;
    let direction = at.direction;
    let place = (t * params.batch + b) * params.directions + direction;
    let inner_at = params.inner + place * hidden + unit;
    let early_at = params.early + (direction * params.batch + b) * EARLY_GATES * hidden + unit;
    if which == EARLY && past {
        saved[inner_at] = 0.0;
        return;
    }
    // With a projection the cell does not know h, and PROJECT has only h.
    let first_state = select(0u, 1u, which == CELL);
    let end_state = select(STATES, 1u, which == PROJECT);
    var in: CellIn;
    in.r = r_product;
    for (var s = first_state; s < end_state; s++) {
        in.before[s] = take(at.fresh, state_at(params.h_width, s, direction, b, unit));
    }
    if past {
        if which == CELL {
            saved[inner_at] = 0.0;
        } else {
            y[params.y + place * params.output + unit] = 0.0;
        }
        for (var s = first_state; s < end_state; s++) {
            leave(state_at(params.leave_width, s, direction, b, unit), in.before[s]);
        }
        return;
    }
    var new_state: array<f32, STATES>;
    if which == PROJECT {
        new_state[0] = in.r[0];
    } else {
        if FOLDED {
            in.x = input_product(direction, t, b, unit);
        } else {
            for (var gate = 0u; gate < GATES; gate++) {
                in.x[gate] = x_gates[params.x_gates + (place * GATES + gate) * hidden + unit];
            }
        }
        if which == EARLY {
            for (var gate = 0u; gate < EARLY_GATES; gate++) {
                saved[early_at + gate * hidden] = in.r[gate];
            }
            saved[inner_at] = cell_inner(in);
            return;
        }
        if which == LATE {
            for (var gate = 0u; gate < EARLY_GATES; gate++) {
                in.r[gate] = saved[early_at + gate * hidden];
            }
        }
        for (var v = 0u; v < DIAGONALS; v++) {
            in.diagonal[v] = packed(params.diagonal + (direction * DIAGONALS + v) * hidden + unit);
        }
        let result = cell_forward(in);
        new_state = result.state;
        if KEEPS {
            let plane = params.directions * params.steps * params.batch * hidden;
            let saved_at = params.saved + ((direction * params.steps + t) * params.batch + b) * hidden + unit;
            for (var k = 0u; k < SAVED; k++) {
                saved[saved_at + k * plane] = result.saved[k];
            }
        }
    }
    if which == CELL {
        saved[inner_at] = new_state[0];
    }
    var keep = vec2<f32>(1.0);
    if ZONEOUT {
        keep = zoneout_keep(direction, t, b, unit);
    }
    for (var s = first_state; s < end_state; s++) {
        if ZONEOUT {
            let m = select(keep.x, keep.y, s > 0u);
            // Not old + m (computed − old), which loses the digits of a small computed state.
            new_state[s] = (1.0 - m) * in.before[s] + m * new_state[s];
        }
        leave(state_at(params.leave_width, s, direction, b, unit), new_state[s]);
    }
    if which != CELL {
        y[params.y + place * params.output + unit] = new_state[0];
    }
}

// W x + b_ih of a unit's gates, added up as a product of its own would be.
fn input_product(direction: u32, t: u32, b: u32, unit: u32) -> array<f32, GATES> {
    let x_at = select(params.x_gates, params.x_back, direction == 1u) + (t * params.batch + b) * params.x_stride;
    var weight_at = params.input_at + (direction * (params.inputs + 1u) * params.hidden + unit) * GATES;
    var sum: array<f32, GATES>;
    for (var k = 0u; k < params.inputs; k++) {
        let x = x_gates[x_at + k];
        for (var gate = 0u; gate < GATES; gate++) {
            sum[gate] = fma(x, packed(weight_at + gate), sum[gate]);
        }
        weight_at += params.hidden * GATES;
    }
    for (var gate = 0u; gate < GATES; gate++) {
        sum[gate] += packed(weight_at + gate);
    }
    return sum;
}
