// Softmax of each row; one workgroup a row.

struct SoftmaxParams {
    rows: u32,
    columns: u32,
    input: u32,
    output: u32,
    input_stride: u32,
    output_stride: u32,
}

@group(0) @binding(0) var<storage, read> params: SoftmaxParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;        // [M, N]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [M, N]

@compute @workgroup_size(ROW_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_workgroup(workgroup, workgroups);
    let live = row < params.rows;
    let input_at = params.input + row * params.input_stride;
    let output_at = params.output + row * params.output_stride;
    let columns = select(0u, params.columns, live);

    var largest = LOWEST;
    for (var i = local; i < columns; i += ROW_SIZE) {
        largest = max(largest, input[input_at + i]);
    }
    largest = row_max(local, largest);
    var sum = 0.0;
    for (var i = local; i < columns; i += ROW_SIZE) {
        let value = exp(input[input_at + i] - largest);
        output[output_at + i] = value;
        sum += value;
    }
    sum = row_sum(local, sum);
    for (var i = local; i < columns; i += ROW_SIZE) {
        output[output_at + i] /= sum;
    }
}
