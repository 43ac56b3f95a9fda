// One step of a recurrent layer: r = R h₋ + b_hh, then the cell. One dispatch a step, all directions and batch rows in it.
// An invocation owns one hidden unit of ROWS batch rows; the weights come packed as [D, H (k), H (unit), G], so that the gates
// of a unit are adjacent and the units of a workgroup read consecutive memory, and after them the biases as [D, H, G].

struct RecurrentForwardParams {
    steps: u32,
    batch: u32,
    hidden: u32,
    directions: u32,
    step: u32,
    state_stride: u32,
    x_gates: u32,
    lengths: u32,
    initial: u32,
    last: u32,
    y: u32,
    saved: u32,
    has_initial: u32,
    has_saved: u32,
}

@group(0) @binding(0) var<storage, read> params: RecurrentForwardParams;
@group(0) @binding(1) var<storage, read> x_gates: array<f32>;     // [T, B, D, G·H]
@group(0) @binding(2) var<storage, read> weight: array<f32>;      // [D, H, H, G], [D, H, G]
@group(0) @binding(3) var<storage, read> lengths: array<f32>;     // [B], whole numbers; unused unless RAGGED
@group(0) @binding(4) var<storage, read> initial: array<f32>;     // [S][D, B, H]
@group(0) @binding(5) var<storage, read_write> last: array<f32>;  // [S][D, B, H], the states so far
@group(0) @binding(6) var<storage, read_write> y: array<f32>;     // [T, B, D, H]
@group(0) @binding(7) var<storage, read_write> saved: array<f32>; // [K, D, T, B, H]

// Whether this is the first step, where h₋ is the initial state and not the last output.
override FIRST: bool = false;
// Whether rows have lengths. Past its length a row holds its states and gives 0; backwards it starts at its own last step.
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
    let t_before = select(t - 1u, t + 1u, reverse);

    // Rows past the batch repeat its last row, and are not stored.
    var length: array<u32, ROWS>;
    var starts: array<bool, ROWS>;
    var h_before: array<u32, ROWS>;
    var live = !RAGGED;
    for (var row = 0u; row < ROWS; row++) {
        let b = min(first_row + row, params.batch - 1u);
        length[row] = params.steps;
        if RAGGED {
            length[row] = u32(lengths[params.lengths + b]);
            live = live || t < length[row];
        }
        starts[row] = FIRST || (RAGGED && reverse && t + 1u == length[row]);
        if starts[row] {
            h_before[row] = params.initial + (direction * params.batch + b) * hidden;
        } else {
            h_before[row] = params.y + ((t_before * params.batch + b) * params.directions + direction) * hidden;
        }
    }

    var r: array<array<f32, GATES>, ROWS>;
    let bias_at = (params.directions * hidden * hidden + direction * hidden + unit) * GATES;
    for (var gate = 0u; gate < GATES; gate++) {
        let value = weight[bias_at + gate];
        for (var row = 0u; row < ROWS; row++) {
            r[row][gate] = value;
        }
    }
    let count = select(hidden, 0u, !live || (FIRST && params.has_initial == 0u));
    var at = (direction * hidden * hidden + unit) * GATES;
    for (var k = 0u; k < count; k++) {
        var w: array<f32, GATES>;
        for (var gate = 0u; gate < GATES; gate++) {
            w[gate] = weight[at + gate];
        }
        for (var row = 0u; row < ROWS; row++) {
            var h: f32;
            if FIRST {
                h = initial[h_before[row] + k];
            } else if RAGGED && starts[row] {
                h = 0.0;
                if params.has_initial != 0u {
                    h = initial[h_before[row] + k];
                }
            } else {
                h = y[h_before[row] + k];
            }
            for (var gate = 0u; gate < GATES; gate++) {
                r[row][gate] = fma(h, w[gate], r[row][gate]);
            }
        }
        at += hidden * GATES;
    }

    for (var row = 0u; row < ROWS; row++) {
        let b = first_row + row;
        if b >= params.batch {
            break;
        }
        let place = (t * params.batch + b) * params.directions + direction;
        let state_at = (direction * params.batch + b) * hidden + unit;
        var before: array<f32, STATES>;
        for (var s = 0u; s < STATES; s++) {
            if !FIRST {
                before[s] = last[params.last + s * params.state_stride + state_at];
            } else if params.has_initial != 0u {
                before[s] = initial[params.initial + s * params.state_stride + state_at];
            }
        }
        if RAGGED && t >= length[row] {
            y[params.y + place * hidden + unit] = 0.0;
            for (var s = 0u; s < STATES; s++) {
                last[params.last + s * params.state_stride + state_at] = before[s];
            }
            continue;
        }
        var x: array<f32, GATES>;
        for (var gate = 0u; gate < GATES; gate++) {
            x[gate] = x_gates[params.x_gates + (place * GATES + gate) * hidden + unit];
        }
        let result = cell_forward(x, r[row], before);
        for (var s = 0u; s < STATES; s++) {
            last[params.last + s * params.state_stride + state_at] = result.state[s];
        }
        y[params.y + place * hidden + unit] = result.state[0];
        if params.has_saved != 0u {
            let plane = params.directions * params.steps * params.batch * hidden;
            let saved_at = params.saved + ((direction * params.steps + t) * params.batch + b) * hidden + unit;
            for (var s = 0u; s < SAVED; s++) {
                saved[saved_at + s * plane] = result.saved[s];
            }
        }
    }
}
