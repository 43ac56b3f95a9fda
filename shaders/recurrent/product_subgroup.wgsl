// The product of the recurrence kernels, with subgroups of at least 8: the lanes of eight invocations load 32 inputs of a row, 4
// each, and pass them round, so that an input is loaded once for eight invocations and not once for each.

const LANES: u32 = 8u;

@compute @workgroup_size(UNITS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    run(workgroup, workgroups, local, lane % LANES);
}

// An invocation that walks by itself has no lanes to pass inputs round.
fn walk_by_invocation(first_row: u32, direction: u32) {}

// As in product_plain, for the inputs of all eight lanes. The loop keeps the kernel short: drivers
// that compile for a CPU need it.
fn multiply(inputs: Inputs, first_at: u32, stride: u32, first: u32, end: u32, sum: ptr<function, Sums>) {
    for (var lane = 0u; lane < LANES; lane++) {
        var passed: Inputs;
        for (var i = 0u; i < INPUTS; i++) {
            for (var row = 0u; row < ROWS; row++) {
                passed[i][row] = subgroupShuffle(inputs[i][row], lane);
            }
        }
        multiply_lane(passed, first_at + lane * stride, first, end, sum);
    }
}
