// The register tile of `gemm/tile.wgsl` in which eight invocations of a subgroup load a part of the rows each and pass it on: an
// eighth of the loads. Subgroups have 8 invocations or more.

var<private> lane: u32;

fn left_parts(first_row: u32, step: u32) -> array<vec4<f32>, 8> {
    let own = left_part(first_row, step, lane);
    return array(
        subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u),
        subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u),
    );
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) invocation: u32,
) {
    lane = invocation % 8u;
    multiply(workgroup, workgroups, local);
}
