// The register tile of `gemm/tile.wgsl` in which every invocation loads the rows itself: one address for the whole workgroup.

fn left_parts(first_row: u32, step: u32) -> array<vec4<f32>, 8> {
    return array(
        left_part(first_row, step, 0u), left_part(first_row, step, 1u),
        left_part(first_row, step, 2u), left_part(first_row, step, 3u),
        left_part(first_row, step, 4u), left_part(first_row, step, 5u),
        left_part(first_row, step, 6u), left_part(first_row, step, 7u),
    );
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    multiply(workgroup, workgroups, local);
}
