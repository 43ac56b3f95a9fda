// Sums of the columns of blocks of rows: output[block, n] = Σ_m input[m, n] over the block's rows (+ output). Long columns take
// two dispatches, blocks first and then the blocks' sums: a fixed order, so that the bits never change.

struct ColumnSumParams {
    rows: u32,
    columns: u32,
    row_stride: u32,
    block: u32,
    input: u32,
    output: u32,
    copies: u32,
    copy_stride: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<storage, read> params: ColumnSumParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;        // [M, N]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [ceil(M / block), N]; without blocks [copies, N]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    let column = index % params.columns;
    let first_row = (index / params.columns) * params.block;
    // Without any row there is still a sum: 0.
    if first_row > 0u && first_row >= params.rows {
        return;
    }
    var sum = 0.0;
    for (var row = first_row; row < min(first_row + params.block, params.rows); row++) {
        sum += input[params.input + row * params.row_stride + column];
    }
    let at = params.output + index;
    if params.accumulate != 0u {
        sum += output[at];
    }
    for (var copy = 0u; copy < params.copies; copy++) {
        output[at + copy * params.copy_stride] = sum;
    }
}
