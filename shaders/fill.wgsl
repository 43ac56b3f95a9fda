// target = value

struct FillParams {
    offset: u32,
    len: u32,
    value: f32,
}

@group(0) @binding(0) var<storage, read> params: FillParams;
@group(0) @binding(1) var<storage, read_write> output: array<f32>; // [len]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index < params.len {
        output[params.offset + index] = params.value;
    }
}
