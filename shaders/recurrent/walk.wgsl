// How the recurrence kernels walk the steps, and what they hand from one to the next. RESIDENT: a workgroup owns its rows' whole sequence and
// walks all units, so that only its own invocations wait for each other between steps; RESIDENT and ALONE: an invocation does, and none waits.
// Else a dispatch is one phase of one step, and a workgroup UNITS times OWN_UNITS units. A kernel has `params` with batch, hidden, output,
// directions, steps, step, count, take_at, leave_at and fresh, `before` and `after`, the functions step_of and phase, OWN_UNITS, the units of an
// invocation, and of its product LANES, the invocations that load 4 inputs each for all, and the function run_alone.

override PHASE: u32 = 0u;
// RESIDENT: the phase that follows PHASE in each step.
override SECOND: u32 = 99u;
override RESIDENT: bool = false;
override ALONE: bool = false;
override UNITS: u32 = 64u;

const NONE: u32 = 99u;

// Where in `before` and `after` the numbers lie that a step takes and leaves. RESIDENT: both in `after`, whose halves change places each step.
var<private> taken: u32;
var<private> left: u32;

// What a workgroup is at, or with ALONE an invocation.
struct Place {
    first_row: u32,
    direction: u32,
    step: u32,
    // Whether the step takes zeros, whatever lies there: it is the first. Here, as only what is handed down is known to be uniform.
    fresh: bool,
}

fn run(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32, lane: u32) {
    let group = linear_workgroup(workgroup, workgroups);
    taken = params.take_at;
    left = params.leave_at;
    if ALONE {
        run_alone((group * UNITS + local) * ROWS, workgroup.z);
    } else if RESIDENT {
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
    let next = taken;
    taken = left;
    left = next;
}

// Of one of so many invocations.
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
    if RESIDENT {
        return select(after[taken + at], 0.0, fresh);
    }
    return select(before[(taken + at) / 4u][(taken + at) % 4u], 0.0, fresh);
}

// Four of them, from a multiple of four on. Not of a fresh step.
fn take_four(at: u32) -> vec4<f32> {
    if RESIDENT {
        let first = taken + at;
        return vec4<f32>(after[first], after[first + 1u], after[first + 2u], after[first + 3u]);
    }
    return before[(taken + at) / 4u];
}

// A number for the step after.
fn leave(at: u32, value: f32) {
    after[left + at] = value;
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
