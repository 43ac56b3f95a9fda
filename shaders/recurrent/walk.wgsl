// How the recurrence kernels walk the steps, and what they hand from one to the next. A kernel has `params` with batch, hidden,
// output, directions, steps, step, count, take_at, leave_at and fresh, `before` and `after`, the functions step_of and phase,
// OWN_UNITS, the units of an invocation, and of its product LANES, the invocations that load 4 inputs each for all, and the
// function walk_by_invocation.

// What a dispatch does of a step, numbered as Phase.
const WHOLE: u32 = 0u;
const EARLY: u32 = 1u;
const LATE: u32 = 2u;
const INNER: u32 = 3u;
const CELL: u32 = 4u;
const PROJECT: u32 = 5u;
override PHASE: u32 = 0u;
// Unless BY_DEVICE: the phase that follows PHASE in each step.
override SECOND: u32 = 99u;
// Who walks the steps, numbered as RecurrentWalk.
override WALK: u32 = 0u;
override UNITS: u32 = 64u;
// Whether rows have lengths. Past its length a row holds its states and gives 0; backwards it has no gradient but that of its
// states.
override RAGGED: bool = false;
// Whether what enters gate g's product, or backwards leaves it, is multiplied by mask[g].
override MASKED: bool = false;
override ZONEOUT: bool = false;

const NONE: u32 = 99u;
// A dispatch is one phase of one step, and a workgroup UNITS times OWN_UNITS units.
const BY_DEVICE: u32 = 0u;
// A workgroup owns its rows' whole sequence and walks all units, so that only its own invocations
// wait for each other between steps.
const BY_WORKGROUP: u32 = 1u;
// An invocation does, and none waits.
const BY_INVOCATION: u32 = 2u;

// Where in `before` and `after` the numbers lie that a step takes and leaves. Unless BY_DEVICE both
// are in `after`, whose halves change places each step.
var<private> take_from: u32;
var<private> leave_to: u32;

// What a workgroup is at, or BY_INVOCATION an invocation.
struct Place {
    first_row: u32,
    direction: u32,
    step: u32,
    // Whether the step takes zeros, whatever lies there: it is the first. Here, as only what is
    // handed down is known to be uniform.
    fresh: bool,
}

fn run(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32, lane: u32) {
    let group = linear_workgroup(workgroup, workgroups);
    take_from = params.take_at;
    leave_to = params.leave_at;
    if WALK == BY_INVOCATION {
        walk_by_invocation((group * UNITS + local) * ROWS, workgroup.z);
    } else if WALK == BY_WORKGROUP {
        for (var i = 0u; i < params.count; i++) {
            let at = place_of(group * ROWS, workgroup.z, i);
            all_units(PHASE, at, local, UNITS, lane);
            storageBarrier();
            if SECOND != NONE {
                all_units(SECOND, at, local, UNITS, lane);
                storageBarrier();
            }
            next_step();
        }
    } else {
        let blocks = (units_of(PHASE) + UNITS * OWN_UNITS - 1u) / (UNITS * OWN_UNITS);
        let unit = ((group % blocks) * UNITS + local) * OWN_UNITS;
        phase(PHASE, place_of((group / blocks) * ROWS, workgroup.z, 0u), unit, lane);
    }
}

fn place_of(first_row: u32, direction: u32, i: u32) -> Place {
    return Place(first_row, direction, step_of(i), params.fresh != 0u && i == 0u);
}

fn next_step() {
    let next = take_from;
    take_from = leave_to;
    leave_to = next;
}

// One phase of all units, by one of so many invocations.
fn all_units(which: u32, at: Place, local: u32, invocations: u32, lane: u32) {
    let units = units_of(which);
    for (var block = 0u; block < units; block += invocations * OWN_UNITS) {
        phase(which, at, block + local * OWN_UNITS, lane);
    }
}

// The vectors of 4 inputs that a product takes, of those that weights have.
fn quads_taken(inputs: u32) -> u32 {
    return (inputs + 4u * LANES - 1u) / (4u * LANES) * LANES;
}

fn units_of(which: u32) -> u32 {
    return select(params.hidden, params.output, which == PROJECT);
}

// A number of the step before.
fn take(fresh: bool, at: u32) -> f32 {
    if WALK != BY_DEVICE {
        return select(after[take_from + at], 0.0, fresh);
    }
    return select(before[(take_from + at) / 4u][(take_from + at) % 4u], 0.0, fresh);
}

// Four numbers of the step before, from a multiple of four on; of a fresh step anything.
fn take_four(at: u32) -> vec4<f32> {
    if WALK != BY_DEVICE {
        let first = take_from + at;
        return vec4<f32>(after[first], after[first + 1u], after[first + 2u], after[first + 3u]);
    }
    return before[(take_from + at) / 4u];
}

// A number for the step after.
fn leave(at: u32, value: f32) {
    after[leave_to + at] = value;
}

// Where unit `unit` of state s of a row is in [S][D, B, ·]: h is `width` wide, the other states `hidden`.
fn state_at(width: u32, s: u32, direction: u32, b: u32, unit: u32) -> u32 {
    let row = direction * params.batch + b;
    if s == 0u {
        return row * width + unit;
    }
    let rows = params.directions * params.batch;
    return rows * (width + (s - 1u) * params.hidden) + row * params.hidden + unit;
}
