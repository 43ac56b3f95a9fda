// output[m, n] = input[m, n] · factor[m mod K, n]

struct MultiplyParams {
    rows: u32,
    columns: u32,
    factor_rows: u32,
    input: u32,
    input_stride: u32,
    factor: u32,
    factor_stride: u32,
    output: u32,
    output_stride: u32,
}

@group(0) @binding(0) var<storage, read> params: MultiplyParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;        // [M, N]
@group(0) @binding(2) var<storage, read> factor: array<f32>;       // [K, N]
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // [M, N]

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
    let other = factor[params.factor + (row % params.factor_rows) * params.factor_stride + column];
    output[params.output + row * params.output_stride + column] =
        input[params.input + row * params.input_stride + column] * other;
}
