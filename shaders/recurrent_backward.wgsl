// Steps of a recurrent layer backwards, each in one or two phases:
//   WHOLE    the gradient of h = d_y + the direct gradient of the step after + Rᵀ times that step's d_r; then the cell
//   INNER    of a cell with late gates, after WHOLE: the gradient of v = Rᵀ times d_r of the late gates, and what it adds
//   PROJECT  with a projection: the gradient of h as in WHOLE, kept as d_h
//   CELL     after PROJECT: the gradient of m = W_hrᵀ d_h; then the cell
// and WHOLE or PROJECT once more (AFTER_FIRST) where the initial h's gradient is wanted. An
// invocation owns OUTPUTS neighbouring units of ROWS batch rows.

@group(0) @binding(1) var<storage, read> weight: array<Packed>;  // of 4 inputs: [D, G, H/4, P]; [D, P/4, H]; [D, V, H]; [D, B, G, P]
@group(0) @binding(2) var<storage, read> saved: array<f32>;         // [K, D, T, B, H]
@group(0) @binding(3) var<storage, read> d_y: array<f32>;           // [T, B, D, P]
@group(0) @binding(4) var<storage, read> lengths: array<u32>;       // [B]; unused unless RAGGED. Seed and step [4]
@group(0) @binding(5) var<storage, read> before: array<vec4<f32>>;  // of the step after: [S][D, B, ·] direct gradients; [D, B, V, H]; d_r [D, B, G, H₃₂]
@group(0) @binding(6) var<storage, read_write> after: array<f32>;   // the same of this step; unless BY_DEVICE both
@group(0) @binding(7) var<storage, read_write> d_gates: array<f32>; // d_x and d_r [T, B, D, G·H], one where SHARED_GRADIENT; d_h [T, B, D, P]

// Whether this is past the first step of the forward pass: only the product for the initial h's gradient is left.
override AFTER_FIRST: bool = false;

const OWN_UNITS: u32 = OUTPUTS;

fn step_of(i: u32) -> u32 {
    return params.step - i;
}

// `first_own` is the first of the invocation's OUTPUTS.
fn phase(which: u32, at: Place, first_own: u32, lane: u32) {
    let units = units_of(which);
    let direction = at.direction;
    let reverse = direction == 1u;
    let t = select(at.step, params.steps - 1u - at.step, reverse);
    // Whether the product takes d_r or d_h of this step, and not d_r of the one done just before.
    let of_this_step = which == INNER || which == CELL;
    // W_hr is as one gate.
    let first_gate = select(0u, EARLY_GATES, which == INNER);
    let end_gate = select(select(EARLY_GATES, GATES, which == INNER), 1u, which == CELL);
    let gates = select(GATES, 1u, which == CELL);
    let inputs = select(params.hidden, params.output, which == CELL);
    let quads = (inputs + 31u) / 32u * 8u;
    var source: array<u32, ROWS>;
    // Zeros need no product.
    let zeros = at.fresh && !of_this_step;
    var live = !RAGGED && !zeros;
    for (var row = 0u; row < ROWS; row++) {
        let b = min(at.first_row + row, params.batch - 1u);
        if RAGGED {
            live = live || (!zeros && t_read(at.step, reverse, of_this_step) < row_steps(direction, b));
        }
        if of_this_step {
            let start = select(params.d_r, params.d_h, which == CELL);
            source[row] = start + ((t * params.batch + b) * params.directions + direction) * gates * inputs;
        } else {
            source[row] = d_r_at(direction, b, 0u, 0u);
        }
    }
    let source_stride = select(quads * 4u, inputs, of_this_step);
    let stride = (units + 3u) / 4u * 4u;
    let count = select(0u, quads_taken(inputs), live);
    let column = min(first_own, stride - OUTPUTS);
    var product: Sums;
    for (var gate = first_gate; gate < end_gate; gate++) {
        var sum: Sums;
        var weight_at = (direction * gates + gate) * quads * stride + column;
        if which == CELL {
            weight_at += params.project_at;
        }
        for (var k = 0u; k < count; k += LANES) {
            multiply(load(of_this_step, source, gate * source_stride, (k + lane) * 4u, inputs), weight_at, stride, 0u, OUTPUTS, &sum);
            weight_at += LANES * stride;
        }
        for (var row = 0u; row < ROWS; row++) {
            let b = min(at.first_row + row, params.batch - 1u);
            for (var i = 0u; i < OUTPUTS; i++) {
                if MASKED && which != CELL {
                    let unit = min(first_own + i, units - 1u);
                    sum[row][i] *= packed(params.mask + ((direction * params.batch + b) * GATES + gate) * units + unit);
                }
                product[row][i] += sum[row][i];
            }
        }
    }
    // The bounds are those of recurrent_forward.
    let rows = min(ROWS, params.batch - min(at.first_row, params.batch));
    let own_units = min(OUTPUTS, units - min(first_own, units));
    var results = product;
    for (var row = 0u; row < rows; row++) {
        let b = at.first_row + row;
        var past = false;
        if RAGGED {
            past = t >= row_steps(direction, b);
        }
        for (var i = 0u; i < own_units; i++) {
            if which == INNER {
                finish_inner(results[row][i], direction, t, b, first_own + i, past);
            } else {
                finish(which, results[row][i], at, t, b, first_own + i, past);
            }
        }
    }
}

// The place in time of the d_r that a product takes: this step, or the one done just before, which
// is one later in this direction's order; past the first step, the first step itself.
fn t_read(step: u32, reverse: bool, of_this_step: bool) -> u32 {
    let read = select(step + 1u, step, AFTER_FIRST || of_this_step);
    return select(read, params.steps - 1u - read, reverse);
}

// Where d_r of a row's gate is handed on, padded with zeros to a multiple of 32.
fn d_r_at(direction: u32, b: u32, gate: u32, unit: u32) -> u32 {
    let width = (params.hidden + 31u) / 32u * 32u;
    return params.d_r_taken + ((direction * params.batch + b) * GATES + gate) * width + unit;
}

// A lane's inputs k to k + 3 of each row, zeros past the last.
fn load(of_this_step: bool, source: array<u32, ROWS>, gate_at: u32, k: u32, inputs: u32) -> Inputs {
    var loaded: Inputs;
    for (var row = 0u; row < ROWS; row++) {
        if of_this_step {
            for (var i = 0u; i < 4u; i++) {
                let value = d_gates[source[row] + gate_at + min(k + i, inputs - 1u)];
                loaded[0][row][i] = select(0.0, value, k + i < inputs);
            }
        } else {
            loaded[0][row] = take_four(source[row] + gate_at + k);
        }
    }
    return loaded;
}
