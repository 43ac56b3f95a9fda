// d_input[m, n] = Σ_r d_output[m, r·N + n] (+ d_input[m, n])

struct RepeatBackwardParams {
    rows: u32,
    columns: u32,
    width: u32,
    d_output: u32,
    d_output_stride: u32,
    d_input: u32,
    d_input_stride: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<storage, read> params: RepeatBackwardParams;
@group(0) @binding(1) var<storage, read> d_output: array<f32>;      // [M, R·N]
@group(0) @binding(2) var<storage, read_write> d_input: array<f32>; // [M, N]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index >= params.rows * params.width {
        return;
    }
    let row = index / params.width;
    let column = index % params.width;
    let at = params.d_input + row * params.d_input_stride + column;
    var sum = 0.0;
    if params.accumulate != 0u {
        sum = d_input[at];
    }
    for (var i = column; i < params.columns; i += params.width) {
        sum += d_output[params.d_output + row * params.d_output_stride + i];
    }
    d_input[at] = sum;
}
