// A matrix rounded to f16, without gaps, its rows padded with zeros.

struct PackHalfParams {
    rows: u32,
    columns: u32,
    matrix: u32,
    stride: u32,
    // Of a packed row, in vectors of four.
    width: u32,
}

@group(0) @binding(0) var<storage, read> params: PackHalfParams;
@group(0) @binding(1) var<storage, read> matrix: array<f32>;             // [rows, columns]
@group(0) @binding(2) var<storage, read_write> packed: array<vec2<u32>>; // [rows, width]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if i >= params.rows * params.width {
        return;
    }
    let first = i % params.width * 4u;
    let row = params.matrix + i / params.width * params.stride;
    var values = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        if first + j < params.columns {
            values[j] = matrix[row + first + j];
        }
    }
    packed[i] = halves(values);
}
