// A phase of one step of a recurrent layer backwards, all directions and batch rows in one dispatch:
//   WHOLE    the gradient of h = d_y + the direct gradient of the step after + Rᵀ times that step's d_r; then the cell
//   INNER    of a cell with late gates, after WHOLE: the gradient of v = Rᵀ times d_r of the late gates, and what it adds
//   PROJECT  with a projection: the gradient of h as in WHOLE, kept as d_h
//   CELL     after PROJECT: the gradient of m = W_hrᵀ d_h; then the cell
// and WHOLE or PROJECT once more (AFTER_FIRST) where the initial h's gradient is wanted. An invocation owns one unit of ROWS batch rows.

struct RecurrentBackwardParams {
    steps: u32,
    batch: u32,
    hidden: u32,
    output: u32,
    directions: u32,
    step: u32,
    weight: u32,
    weight_stride: u32,
    diagonal: u32,
    mask: u32,
    saved: u32,
    d_y: u32,
    lengths: u32,
    d_state: u32,
    d_diagonal: u32,
    d_x: u32,
    d_r: u32,
    d_h: u32,
    has_d_last: u32,
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

@group(0) @binding(0) var<storage, read> params: RecurrentBackwardParams;
@group(0) @binding(1) var<storage, read> weight: array<f32>;        // [D][G·H, P]; CELL: [D][P, H]
@group(0) @binding(2) var<storage, read> saved: array<f32>;         // [K, D, T, B, H]
@group(0) @binding(3) var<storage, read> d_y: array<f32>;           // [T, B, D, P]
@group(0) @binding(4) var<storage, read> lengths: array<f32>;       // [B], whole numbers; unused unless RAGGED. Seed and step [8]
@group(0) @binding(5) var<storage, read_write> d_state: array<f32>; // [S][D, B, ·], in: of the last states; the direct gradients so far. [D, B, V, H]
@group(0) @binding(6) var<storage, read_write> d_gates: array<f32>; // d_x and d_r [T, B, D, G·H], one where SHARED_GRADIENT; d_h [T, B, D, P]
@group(0) @binding(7) var<storage, read> constants: array<f32>;     // diagonal weights [D, V, H]; mask [D, B, G, P]

const WHOLE: u32 = 0u;
const INNER: u32 = 1u;
const PROJECT: u32 = 2u;
const CELL: u32 = 3u;
override PHASE: u32 = 0u;
// Whether this is the last step of the forward pass, where backwards nothing came before.
override LAST: bool = false;
// Whether this is past the first step of the forward pass: only the product for the initial h's gradient is left.
override AFTER_FIRST: bool = false;
// Whether rows have lengths. Past its length a row has no gradient but that of its states.
override RAGGED: bool = false;
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

    var product: array<f32, ROWS>;
    let of_this_step = PHASE == INNER || PHASE == CELL;
    if !LAST || of_this_step {
        // The step whose d_r is read: this one, or the one done just before, which is one later in this direction's order; past the first
        // step, the first step itself.
        var t_read = select(t + 1u, t - 1u, reverse);
        if AFTER_FIRST || of_this_step {
            t_read = t;
        }
        let first_gate = select(0u, EARLY_GATES, PHASE == INNER);
        let end_gate = select(select(EARLY_GATES, GATES, PHASE == INNER), 1u, PHASE == CELL);
        // Rows of the weight for one gate; W_hr is as one gate.
        let gate_rows = select(hidden, params.output, PHASE == CELL);
        let row_gates = select(GATES, 1u, PHASE == CELL);
        let source = select(params.d_r, params.d_h, PHASE == CELL);
        var source_at: array<u32, ROWS>;
        var live = !RAGGED;
        for (var row = 0u; row < ROWS; row++) {
            let b = min(first_row + row, params.batch - 1u);
            if RAGGED {
                live = live || t_read < row_steps(direction, b);
            }
            source_at[row] = source + ((t_read * params.batch + b) * params.directions + direction) * row_gates * gate_rows;
        }
        let count = select(0u, gate_rows, live);
        for (var gate = first_gate; gate < end_gate; gate++) {
            var sum: array<f32, ROWS>;
            var at = params.weight + direction * params.weight_stride + gate * gate_rows * units + unit;
            let gate_at = gate * gate_rows;
            for (var k = 0u; k < count; k++) {
                let w = weight[at];
                for (var row = 0u; row < ROWS; row++) {
                    sum[row] = fma(d_gates[source_at[row] + gate_at + k], w, sum[row]);
                }
                at += units;
            }
            for (var row = 0u; row < ROWS; row++) {
                if MASKED && PHASE != CELL {
                    let b = min(first_row + row, params.batch - 1u);
                    sum[row] *= constants[params.mask + ((direction * params.batch + b) * GATES + gate) * units + unit];
                }
                product[row] += sum[row];
            }
        }
    }
    for (var row = 0u; row < ROWS; row++) {
        let b = first_row + row;
        if b >= params.batch {
            break;
        }
        let past = RAGGED && t >= row_steps(direction, b);
        if PHASE == INNER {
            finish_inner(product[row], direction, t, b, unit, past);
        } else {
            finish(product[row], direction, t, b, unit, past);
        }
    }
}
