// States of a recurrent layer moved between a tensor and the memory that a step hands them on in,
// where the rows of h are padded with zeros, and what stands behind the states starts at zero.

struct CarryParams {
    rows: u32,
    width: u32,
    from_at: u32,
    from_width: u32,
    to_at: u32,
    to_width: u32,
    rest: u32,
    len: u32,
}

@group(0) @binding(0) var<storage, read> params: CarryParams;
@group(0) @binding(1) var<storage, read> from_states: array<f32>;     // [S][D, B, ·]
@group(0) @binding(2) var<storage, read_write> to_states: array<f32>; // [S][D, B, ·]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index >= params.len {
        return;
    }
    let h = params.rows * params.to_width;
    var at = params.rows * params.from_width + index - h;
    var found = index < h + params.rest;
    if index < h {
        at = index / params.to_width * params.from_width + index % params.to_width;
        found = index % params.to_width < params.width;
    }
    var value = 0.0;
    if found {
        value = from_states[params.from_at + at];
    }
    to_states[params.to_at + index] = value;
}
