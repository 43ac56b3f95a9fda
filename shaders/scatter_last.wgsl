// d_input[length_b − 1, b] = d_output[b], and 0 at every other step: the gradient of gather_last.

struct ScatterLastParams {
    rows: u32,
    batch: u32,
    columns: u32,
    d_output: u32,
    lengths: u32,
    d_input: u32,
    d_output_stride: u32,
    d_input_stride: u32,
}

@group(0) @binding(0) var<storage, read> params: ScatterLastParams;
@group(0) @binding(1) var<storage, read> d_output: array<f32>;      // [B, N]
@group(0) @binding(2) var<storage, read> lengths: array<f32>;       // [B], whole numbers
@group(0) @binding(3) var<storage, read_write> d_input: array<f32>; // [T·B, N]

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
    let b = row % params.batch;
    var value = 0.0;
    if row / params.batch + 1u == u32(lengths[params.lengths + b]) {
        value = d_output[params.d_output + b * params.d_output_stride + column];
    }
    d_input[params.d_input + row * params.d_input_stride + column] = value;
}
