// The entry point of kernels that go element by element: `each_invocation` takes an index, which may be past the last.

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    each_invocation(linear_workgroup(workgroup, workgroups) * 64u + local);
}
