// The product of the recurrence kernels, without subgroups: every invocation loads the inputs of its rows itself.

const LANES: u32 = 1u;

@compute @workgroup_size(UNITS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    run(workgroup, workgroups, local, 0u);
}

// All steps of ROWS batch rows, by one invocation.
fn walk_by_invocation(first_row: u32, direction: u32) {
    if first_row >= params.batch {
        return;
    }
    for (var i = 0u; i < params.count; i++) {
        let at = place_of(first_row, direction, i);
        all_units(PHASE, at, 0u, 1u, 0u);
        if SECOND != NONE {
            all_units(SECOND, at, 0u, 1u, 0u);
        }
        next_step();
    }
}

// Adds the product of 4 · LANES inputs of each row with the columns `first` to `end`; the weights
// of a column and 4 inputs lie at `first_at`, those of the next 4 inputs `stride` behind.
fn multiply(inputs: Inputs, first_at: u32, stride: u32, first: u32, end: u32, sum: ptr<function, Sums>) {
    multiply_lane(inputs, first_at, first, end, sum);
}
