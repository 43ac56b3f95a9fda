// output[b] = input[length_b − 1 − first, b]: the row of the last step of each sequence, 0 for a length of 0, or where that step is none
// of the input's.

struct GatherLastParams {
    batch: u32,
    columns: u32,
    rows: u32,
    first: u32,
    input: u32,
    lengths: u32,
    output: u32,
    input_stride: u32,
    output_stride: u32,
}

@group(0) @binding(0) var<storage, read> params: GatherLastParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;        // [T·B, N]
@group(0) @binding(2) var<storage, read> lengths: array<f32>;      // [B], whole numbers
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // [B, N]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index >= params.batch * params.columns {
        return;
    }
    let row = index / params.columns;
    let column = index % params.columns;
    let length = u32(lengths[params.lengths + row]);
    var value = 0.0;
    if length > params.first {
        let from_row = (length - 1u - params.first) * params.batch + row;
        if from_row < params.rows {
            value = input[params.input + from_row * params.input_stride + column];
        }
    }
    output[params.output + row * params.output_stride + column] = value;
}
