// One step of a recurrent layer backwards: the gradient of h is d_y, plus the direct gradient of the step after, plus Rᵀ times
// that step's d_r; then the cell. One dispatch a step, and one more (AFTER_FIRST) where the initial h's gradient is wanted.
// An invocation owns one hidden unit of ROWS batch rows.

struct RecurrentBackwardParams {
    steps: u32,
    batch: u32,
    hidden: u32,
    directions: u32,
    step: u32,
    state_stride: u32,
    weight: u32,
    weight_stride: u32,
    saved: u32,
    d_y: u32,
    lengths: u32,
    d_state: u32,
    d_x: u32,
    d_r: u32,
    has_d_last: u32,
}

@group(0) @binding(0) var<storage, read> params: RecurrentBackwardParams;
@group(0) @binding(1) var<storage, read> weight: array<f32>;        // [D][G·H, H]
@group(0) @binding(2) var<storage, read> saved: array<f32>;         // [K, D, T, B, H]
@group(0) @binding(3) var<storage, read> d_y: array<f32>;           // [T, B, D, H]
@group(0) @binding(4) var<storage, read> lengths: array<f32>;       // [B], whole numbers; unused unless RAGGED
@group(0) @binding(5) var<storage, read_write> d_state: array<f32>; // [S][D, B, H], in: of the last states; the direct gradients so far
@group(0) @binding(6) var<storage, read_write> d_x: array<f32>;     // [T, B, D, G·H]; unused where SHARED_GRADIENT
@group(0) @binding(7) var<storage, read_write> d_r: array<f32>;     // [T, B, D, G·H]

// Whether this is the last step of the forward pass, where backwards nothing came before.
override LAST: bool = false;
// Whether this is past the first step of the forward pass: only the product for the initial h's gradient is left.
override AFTER_FIRST: bool = false;
// Whether rows have lengths. Past its length a row has no gradient but that of its states.
override RAGGED: bool = false;
override UNITS: u32 = 64u;

@compute @workgroup_size(UNITS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let hidden = params.hidden;
    let unit_groups = (hidden + UNITS - 1u) / UNITS;
    let group = linear_workgroup(workgroup, workgroups);
    let unit = (group % unit_groups) * UNITS + local;
    let first_row = (group / unit_groups) * ROWS;
    let direction = workgroup.z;
    if unit >= hidden || first_row >= params.batch {
        return;
    }
    let reverse = direction == 1u;
    let t = select(params.step, params.steps - 1u - params.step, reverse);

    var d_h: array<f32, ROWS>;
    if !LAST {
        // The step done just before, one later in this direction's order; past the first step, the first step itself.
        var t_after = select(t + 1u, t - 1u, reverse);
        if AFTER_FIRST {
            t_after = t;
        }
        var d_r_at: array<u32, ROWS>;
        var live = !RAGGED;
        for (var row = 0u; row < ROWS; row++) {
            let b = min(first_row + row, params.batch - 1u);
            if RAGGED {
                live = live || t_after < u32(lengths[params.lengths + b]);
            }
            d_r_at[row] = params.d_r + ((t_after * params.batch + b) * params.directions + direction) * GATES * hidden;
        }
        var at = params.weight + direction * params.weight_stride + unit;
        let count = select(0u, GATES * hidden, live);
        for (var k = 0u; k < count; k++) {
            let w = weight[at];
            for (var row = 0u; row < ROWS; row++) {
                d_h[row] = fma(d_r[d_r_at[row] + k], w, d_h[row]);
            }
            at += hidden;
        }
    }

    for (var row = 0u; row < ROWS; row++) {
        let b = first_row + row;
        if b >= params.batch {
            break;
        }
        let state_at = (direction * params.batch + b) * hidden + unit;
        var d_after: array<f32, STATES>;
        for (var s = 0u; s < STATES; s++) {
            if !LAST || params.has_d_last != 0u {
                d_after[s] = d_state[params.d_state + s * params.state_stride + state_at];
            }
        }
        d_after[0] += d_h[row];
        if AFTER_FIRST {
            d_state[params.d_state + state_at] = d_after[0];
            continue;
        }
        let place = (t * params.batch + b) * params.directions + direction;
        if RAGGED && t >= u32(lengths[params.lengths + b]) {
            for (var s = 0u; s < STATES; s++) {
                d_state[params.d_state + s * params.state_stride + state_at] = d_after[s];
            }
            for (var gate = 0u; gate < GATES; gate++) {
                let gate_at = (place * GATES + gate) * hidden + unit;
                d_r[params.d_r + gate_at] = 0.0;
                if !SHARED_GRADIENT {
                    d_x[params.d_x + gate_at] = 0.0;
                }
            }
            continue;
        }
        d_after[0] += d_y[params.d_y + place * hidden + unit];
        let plane = params.directions * params.steps * params.batch * hidden;
        let saved_at = params.saved + ((direction * params.steps + t) * params.batch + b) * hidden + unit;
        var kept: array<f32, SAVED>;
        for (var s = 0u; s < SAVED; s++) {
            kept[s] = saved[saved_at + s * plane];
        }
        let result = cell_backward(kept, d_after);
        for (var s = 0u; s < STATES; s++) {
            d_state[params.d_state + s * params.state_stride + state_at] = result.d_before[s];
        }
        for (var gate = 0u; gate < GATES; gate++) {
            let gate_at = (place * GATES + gate) * hidden + unit;
            d_r[params.d_r + gate_at] = result.d_r[gate];
            if !SHARED_GRADIENT {
                d_x[params.d_x + gate_at] = result.d_x[gate];
            }
        }
    }
}
