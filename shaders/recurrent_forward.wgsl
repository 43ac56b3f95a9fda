// Steps of a recurrent layer, each a product and what follows from it, in one or two phases:
//   WHOLE    r = R h₋ + b_hh, then the cell
//   EARLY    of a cell with late gates: r of the early gates, then v = cell_inner
//   LATE     r of the late gates = R v + b_hh, then the cell
//   CELL     with a projection: as WHOLE, but the cell's first state is m, the projection's input
//   PROJECT  h = W_hr m
// An invocation owns one unit of ROWS batch rows. RESIDENT: a workgroup owns its rows' whole sequence and walks all units, so that only its own
// invocations wait for each other between steps. Else a dispatch is one phase of one step, and a workgroup UNITS units.

struct RecurrentForwardParams {
    steps: u32,
    batch: u32,
    hidden: u32,
    output: u32,
    directions: u32,
    step: u32,
    count: u32,
    project_at: u32,
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
@group(0) @binding(2) var<storage, read> weight: array<Packed>; // of 4 inputs: [D, P/4, H, G]; [D, H/4, P]; [D, H, G]; [D, V, H]; [D, B, G, P/4]
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
const NONE: u32 = 5u;
override PHASE: u32 = 0u;
// RESIDENT: the phase that follows PHASE in each step.
override SECOND: u32 = 5u;
override RESIDENT: bool = false;
// Whether `params.step` is the first step, where h₋ is the initial state and not the last output.
override FIRST: bool = false;
// Whether rows have lengths. Past its length a row holds its states and gives 0; backwards it starts at its own last step.
override RAGGED: bool = false;
// Whether what enters gate g's product is multiplied by mask[g].
override MASKED: bool = false;
override ZONEOUT: bool = false;

// What a workgroup is at.
struct Place {
    first_row: u32,
    direction: u32,
    step: u32,
}

fn run(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32, lane: u32) {
    let group = linear_workgroup(workgroup, workgroups);
    let count = params.count;
    if RESIDENT {
        var at = Place(group * ROWS, workgroup.z, params.step);
        if FIRST {
            both_phases(at, true, local, lane);
        }
        for (var i = select(0u, 1u, FIRST); i < count; i++) {
            at.step = params.step + i;
            both_phases(at, false, local, lane);
        }
    } else {
        let blocks = (units_of(PHASE) + UNITS - 1u) / UNITS;
        let unit = (group % blocks) * UNITS + local;
        phase(PHASE, Place((group / blocks) * ROWS, workgroup.z, params.step), FIRST, unit, lane);
    }
}

fn both_phases(at: Place, first: bool, local: u32, lane: u32) {
    all_units(PHASE, at, first, local, lane);
    storageBarrier();
    if SECOND != NONE {
        all_units(SECOND, at, first, local, lane);
        storageBarrier();
    }
}

fn all_units(which: u32, at: Place, first: bool, local: u32, lane: u32) {
    let units = units_of(which);
    for (var block = 0u; block < units; block += UNITS) {
        phase(which, at, first, block + local, lane);
    }
}

fn units_of(which: u32) -> u32 {
    return select(params.hidden, params.output, which == PROJECT);
}

// Where a row's inputs of a product start, and which buffer holds them.
struct Source {
    at: array<u32, ROWS>,
    // Whether the row's sequence starts at this step, though it is not the first: backwards over a shorter one.
    starts: array<bool, ROWS>,
}

fn phase(which: u32, at: Place, first: bool, own_unit: u32, lane: u32) {
    let hidden = params.hidden;
    let units = units_of(which);
    let unit = min(own_unit, units - 1u);
    let direction = at.direction;
    let reverse = direction == 1u;
    let t = select(at.step, params.steps - 1u - at.step, reverse);
    let t_before = select(t - 1u, t + 1u, reverse);
    // Whether the product takes v or m, of this step, and not h₋.
    let from_inner = which == LATE || which == PROJECT;

    // Rows past the batch repeat its last row, and are not stored.
    var source: Source;
    var live = !RAGGED;
    for (var row = 0u; row < ROWS; row++) {
        let b = min(at.first_row + row, params.batch - 1u);
        if RAGGED {
            let length = row_steps(direction, b);
            live = live || t < length;
            source.starts[row] = reverse && t + 1u == length;
        }
        if from_inner {
            source.at[row] = params.inner + ((t * params.batch + b) * params.directions + direction) * hidden;
        } else if first || source.starts[row] {
            source.at[row] = params.initial + (direction * params.batch + b) * params.output;
        } else {
            source.at[row] = params.y + ((t_before * params.batch + b) * params.directions + direction) * params.output;
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
    let blocks = (inputs + 31u) / 32u;
    let count = select(blocks * 8u, 0u, !live || (first && params.has_initial == 0u && !from_inner));
    let stride = units * columns;
    var weight_at = (direction * blocks * 8u * units + unit) * columns;
    if which == PROJECT {
        weight_at += params.project_at;
    }
    for (var k = 0u; k < count; k += LANES) {
        multiply(load(which, at, first, source, (k + lane) * 4u, inputs), weight_at, stride, first_gate, end_gate, &r);
        weight_at += LANES * stride;
    }
    if own_unit >= units {
        return;
    }
    // Copies, as arrays that a loop indexes are kept in memory; a loop that drivers do not unroll, as its end is not known, keeps the kernel short.
    let rows = min(ROWS, params.batch - min(at.first_row, params.batch));
    var results = r;
    for (var row = 0u; row < rows; row++) {
        let b = at.first_row + row;
        var past = false;
        if RAGGED {
            past = t >= row_steps(direction, b);
        }
        finish(which, first, results[row], direction, t, b, unit, past);
    }
}

// A lane's inputs k to k + 3 of each row, zeros past the last.
fn load(which: u32, at: Place, first: bool, source: Source, k: u32, inputs: u32) -> Inputs {
    var loaded: Inputs;
    for (var row = 0u; row < ROWS; row++) {
        var values: vec4<f32>;
        for (var i = 0u; i < 4u; i++) {
            let place = source.at[row] + min(k + i, inputs - 1u);
            var value: f32;
            if which == LATE || which == PROJECT {
                value = saved[place];
            } else if first {
                value = initial[place];
            } else if RAGGED && source.starts[row] {
                value = 0.0;
                if params.has_initial != 0u {
                    value = initial[place];
                }
            } else {
                value = y[place];
            }
            values[i] = select(0.0, value, k + i < inputs);
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
