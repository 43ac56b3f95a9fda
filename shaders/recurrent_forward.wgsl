// Steps of a recurrent layer, each a product and what follows from it, in one or two phases:
//   WHOLE    r = R h₋ + b_hh, then the cell
//   EARLY    of a cell with late gates: r of the early gates, then v = cell_inner
//   LATE     r of the late gates = R v + b_hh, then the cell
//   CELL     with a projection: as WHOLE, but the cell's first state is m, the projection's input
//   PROJECT  h = W_hr m
// An invocation owns one unit of ROWS batch rows.

@group(0) @binding(1) var<storage, read> x_gates: array<f32>;     // [T, B, D, G·H]; FOLDED: x [T, B, I]
@group(0) @binding(2) var<storage, read> weight: array<Packed>; // of 4 inputs: [D, P/4, H, G]; [D, H/4, P]; [D, H, G]; [D, V, H]; [D, B, G, P/4]; [D, I + 1, H, G]
@group(0) @binding(3) var<storage, read> lengths: array<u32>;     // [B]; unused unless RAGGED. Seed and step [4]
@group(0) @binding(4) var<storage, read> before: array<vec4<f32>>; // [S][D, B, ·], the states so far, h padded to `h_width` with zeros
@group(0) @binding(5) var<storage, read_write> after: array<f32>; // the same after the step; unless BY_DEVICE both
@group(0) @binding(6) var<storage, read_write> y: array<f32>;     // [T, B, D, P]
@group(0) @binding(7) var<storage, read_write> saved: array<f32>; // [K, D, T, B, H]; inner [T, B, D, H]; r of early gates [D, B, E, H]

// Whether W x + b_ih is computed here, from x that starts at x_gates, direction 1's at x_back.
override FOLDED: bool = false;
// Whether what the backward pass reads is kept.
override KEEPS: bool = false;

const OWN_UNITS: u32 = 1u;

fn step_of(i: u32) -> u32 {
    return params.step + i;
}

fn phase(which: u32, at: Place, own_unit: u32, lane: u32) {
    let hidden = params.hidden;
    let units = units_of(which);
    let unit = min(own_unit, units - 1u);
    let direction = at.direction;
    let t = select(at.step, params.steps - 1u - at.step, direction == 1u);
    // Whether the product takes v or m, of this step, and not h₋.
    let from_inner = which == LATE || which == PROJECT;

    // Where a row's inputs of the product start. Rows past the batch repeat its last row, and are not stored.
    var source: array<u32, ROWS>;
    // Zeros have a product too: a NaN among the weights stays one.
    let zeros = at.fresh && !from_inner;
    var live = !RAGGED;
    for (var row = 0u; row < ROWS; row++) {
        let b = min(at.first_row + row, params.batch - 1u);
        if RAGGED {
            live = live || t < row_steps(direction, b);
        }
        if from_inner {
            source[row] = params.inner + ((t * params.batch + b) * params.directions + direction) * hidden;
        } else {
            source[row] = state_at(params.h_width, 0u, direction, b, 0u);
        }
    }

    let first_gate = select(0u, EARLY_GATES, which == LATE);
    let end_gate = select(select(GATES, EARLY_GATES, which == EARLY), 1u, which == PROJECT);
    // Columns of the weights that a unit has.
    let columns = select(GATES, 1u, which == PROJECT);
    let inputs = select(params.output, hidden, from_inner);
    var r: Sums;
    if which != PROJECT {
        for (var gate = first_gate; gate < end_gate; gate++) {
            let value = packed(params.bias + (direction * hidden + unit) * GATES + gate);
            for (var row = 0u; row < ROWS; row++) {
                r[row][gate] = value;
            }
        }
    }
    let quads = (inputs + 31u) / 32u * 8u;
    let count = select(0u, quads_taken(inputs), live);
    let stride = units * columns;
    var weight_at = (direction * quads * units + unit) * columns;
    if which == PROJECT {
        weight_at += params.project_at;
    }
    for (var k = 0u; k < count; k += LANES) {
        multiply(load(which, at, zeros, source, (k + lane) * 4u, inputs), weight_at, stride, first_gate, end_gate, &r);
        weight_at += LANES * stride;
    }
    if own_unit >= units {
        return;
    }
    // Copies, as arrays that a loop indexes are kept in memory; a loop that drivers do not unroll,
    // as its end is not known, keeps the kernel short.
    let rows = min(ROWS, params.batch - min(at.first_row, params.batch));
    var results = r;
    for (var row = 0u; row < rows; row++) {
        let b = at.first_row + row;
        var past = false;
        if RAGGED {
            past = t >= row_steps(direction, b);
        }
        finish(which, results[row], at, t, b, unit, past);
    }
}

// A lane's inputs k to k + 3 of each row, zeros past the last, or all zeros.
fn load(which: u32, at: Place, zeros: bool, source: array<u32, ROWS>, k: u32, inputs: u32) -> Inputs {
    var loaded: Inputs;
    for (var row = 0u; row < ROWS; row++) {
        var values: vec4<f32>;
        if which == LATE || which == PROJECT {
            for (var i = 0u; i < 4u; i++) {
                values[i] = select(0.0, saved[source[row] + min(k + i, inputs - 1u)], k + i < inputs);
            }
        } else {
            values = select(take_four(source[row] + k), vec4<f32>(), zeros);
        }
        for (var i = 0u; i < INPUTS; i++) {
            loaded[i][row] = values;
            if MASKED && which != PROJECT {
                let b = min(at.first_row + row, params.batch - 1u);
                let width = (inputs + 31u) / 32u * 8u;
                loaded[i][row] *= packed_vector(params.mask + ((at.direction * params.batch + b) * GATES + i) * width + k / 4u);
            }
        }
    }
    return loaded;
}
