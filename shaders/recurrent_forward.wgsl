// A phase of one step of a recurrent layer: a product, then what follows from it, all directions and batch rows in one dispatch.
//   WHOLE    r = R h₋ + b_hh, then the cell
//   EARLY    of a cell with late gates: r of the early gates, then v = cell_inner
//   LATE     r of the late gates = R v + b_hh, then the cell
//   CELL     with a projection: as WHOLE, but the cell's first state is m, the projection's input
//   PROJECT  h = W_hr m
// An invocation owns one unit of ROWS batch rows; the weights come packed as [D, inputs (k), units, G], so that the gates of a unit
// are adjacent and the units of a workgroup read consecutive memory. Behind them in the same buffer are biases, diagonal weights and mask.

struct RecurrentForwardParams {
    steps: u32,
    batch: u32,
    hidden: u32,
    output: u32,
    directions: u32,
    step: u32,
    x_gates: u32,
    bias: u32,
    diagonal: u32,
    mask: u32,
    lengths: u32,
    initial: u32,
    last: u32,
    y: u32,
    inner: u32,
    early: u32,
    saved: u32,
    has_initial: u32,
    has_saved: u32,
    rng: u32,
    site: u32,
    zoneout_random: u32,
    zoneout_threshold_h: u32,
    zoneout_threshold_c: u32,
    zoneout_rate_h: f32,
    zoneout_rate_c: f32,
    segment_first: u32,
    segment_total: u32,
}

@group(0) @binding(0) var<storage, read> params: RecurrentForwardParams;
@group(0) @binding(1) var<storage, read> x_gates: array<f32>;     // [T, B, D, G·H]
@group(0) @binding(2) var<storage, read> weight: array<f32>;      // [D, P, H, G], then [D, H, G], [D, V, H], [D, B, G, P]; PROJECT: [D, H, P]
@group(0) @binding(3) var<storage, read> lengths: array<f32>;     // [B], whole numbers; unused unless RAGGED. Seed and step [8]
@group(0) @binding(4) var<storage, read> initial: array<f32>;     // [S][D, B, ·]
@group(0) @binding(5) var<storage, read_write> last: array<f32>;  // [S][D, B, ·], the states so far
@group(0) @binding(6) var<storage, read_write> y: array<f32>;     // [T, B, D, P]
@group(0) @binding(7) var<storage, read_write> saved: array<f32>; // [K, D, T, B, H]; inner [T, B, D, H]; r of early gates [D, B, E, H]

const WHOLE: u32 = 0u;
const EARLY: u32 = 1u;
const LATE: u32 = 2u;
const CELL: u32 = 3u;
const PROJECT: u32 = 4u;
override PHASE: u32 = 0u;
// Whether this is the first step, where h₋ is the initial state and not the last output.
override FIRST: bool = false;
// Whether rows have lengths. Past its length a row holds its states and gives 0; backwards it starts at its own last step.
override RAGGED: bool = false;
// Whether what enters gate g's product is multiplied by mask[g].
override MASKED: bool = false;
override ZONEOUT: bool = false;
override UNITS: u32 = 64u;

@compute @workgroup_size(UNITS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let hidden = params.hidden;
    let units = select(hidden, params.output, PHASE == PROJECT);
    let unit_groups = (units + UNITS - 1u) / UNITS;
    let group = linear_workgroup(workgroup, workgroups);
    let unit = (group % unit_groups) * UNITS + local;
    let first_row = (group / unit_groups) * ROWS;
    let direction = workgroup.z;
    if unit >= units || first_row >= params.batch {
        return;
    }
    let reverse = direction == 1u;
    let t = select(params.step, params.steps - 1u - params.step, reverse);
    let t_before = select(t - 1u, t + 1u, reverse);
    // Whether the product takes v or m, of this step, and not h₋.
    let from_inner = PHASE == LATE || PHASE == PROJECT;

    // Rows past the batch repeat its last row, and are not stored.
    var length: array<u32, ROWS>;
    var starts: array<bool, ROWS>;
    var source: array<u32, ROWS>;
    var live = !RAGGED;
    for (var row = 0u; row < ROWS; row++) {
        let b = min(first_row + row, params.batch - 1u);
        length[row] = params.steps;
        if RAGGED {
            length[row] = row_steps(direction, b);
            live = live || t < length[row];
        }
        starts[row] = FIRST || (RAGGED && reverse && t + 1u == length[row]);
        if from_inner {
            source[row] = params.inner + ((t * params.batch + b) * params.directions + direction) * hidden;
        } else if starts[row] {
            source[row] = params.initial + (direction * params.batch + b) * params.output;
        } else {
            source[row] = params.y + ((t_before * params.batch + b) * params.directions + direction) * params.output;
        }
    }

    let first_gate = select(0u, EARLY_GATES, PHASE == LATE);
    let end_gate = select(select(GATES, EARLY_GATES, PHASE == EARLY), 1u, PHASE == PROJECT);
    let packed_gates = select(GATES, 1u, PHASE == PROJECT);
    let inputs = select(params.output, hidden, from_inner);
    var r: array<array<f32, GATES>, ROWS>;
    if PHASE != PROJECT {
        for (var gate = first_gate; gate < end_gate; gate++) {
            let value = weight[params.bias + (direction * hidden + unit) * GATES + gate];
            for (var row = 0u; row < ROWS; row++) {
                r[row][gate] = value;
            }
        }
    }
    let count = select(inputs, 0u, !live || (FIRST && params.has_initial == 0u && !from_inner));
    var at = (direction * inputs * units + unit) * packed_gates;
    for (var k = 0u; k < count; k++) {
        var w: array<f32, GATES>;
        for (var gate = first_gate; gate < end_gate; gate++) {
            w[gate] = weight[at + gate];
        }
        for (var row = 0u; row < ROWS; row++) {
            var h: f32;
            if from_inner {
                h = saved[source[row] + k];
            } else if FIRST {
                h = initial[source[row] + k];
            } else if RAGGED && starts[row] {
                h = 0.0;
                if params.has_initial != 0u {
                    h = initial[source[row] + k];
                }
            } else {
                h = y[source[row] + k];
            }
            for (var gate = first_gate; gate < end_gate; gate++) {
                var input = h;
                if MASKED && PHASE != PROJECT {
                    let b = min(first_row + row, params.batch - 1u);
                    input *= weight[params.mask + ((direction * params.batch + b) * GATES + gate) * inputs + k];
                }
                r[row][gate] = fma(input, w[gate], r[row][gate]);
            }
        }
        at += units * packed_gates;
    }
    for (var row = 0u; row < ROWS; row++) {
        let b = first_row + row;
        if b >= params.batch {
            break;
        }
        finish(r[row], direction, t, b, unit, RAGGED && t >= length[row]);
    }
}
