// d_input = y (d_y − Σ y d_y), row by row; one workgroup a row.

struct SoftmaxBackwardParams {
    rows: u32,
    columns: u32,
    output: u32,
    d_output: u32,
    d_input: u32,
    output_stride: u32,
    d_output_stride: u32,
    d_input_stride: u32,
}

@group(0) @binding(0) var<storage, read> params: SoftmaxBackwardParams;
@group(0) @binding(1) var<storage, read> output: array<f32>;        // [M, N]
@group(0) @binding(2) var<storage, read> d_output: array<f32>;      // [M, N]
@group(0) @binding(3) var<storage, read_write> d_input: array<f32>; // [M, N]

@compute @workgroup_size(ROW_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_workgroup(workgroup, workgroups);
    let columns = select(0u, params.columns, row < params.rows);
    let output_at = params.output + row * params.output_stride;
    let d_output_at = params.d_output + row * params.d_output_stride;

    var mean = 0.0;
    for (var i = local; i < columns; i += ROW_SIZE) {
        mean = fma(output[output_at + i], d_output[d_output_at + i], mean);
    }
    mean = row_sum(local, mean);
    for (var i = local; i < columns; i += ROW_SIZE) {
        let value = output[output_at + i] * (d_output[d_output_at + i] - mean);
        d_input[params.d_input + row * params.d_input_stride + i] = value;
    }
}
