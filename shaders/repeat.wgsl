// output[m, r·N + n] = input[m, n] (+ bias[r·N + n])

struct RepeatParams {
    rows: u32,
    columns: u32,
    width: u32,
    input: u32,
    input_stride: u32,
    bias: u32,
    has_bias: u32,
    output: u32,
    output_stride: u32,
}

@group(0) @binding(0) var<storage, read> params: RepeatParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;        // [M, N]
@group(0) @binding(2) var<storage, read> bias: array<f32>;         // [R·N]
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // [M, R·N]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index >= params.rows * params.columns {
        return;
    }
    let row = index / params.columns;
    let column = index % params.columns;
    var value = input[params.input + row * params.input_stride + column % params.width];
    if params.has_bias != 0u {
        value += bias[params.bias + column];
    }
    output[params.output + row * params.output_stride + column] = value;
}
