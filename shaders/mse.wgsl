// Squared error: partial[i] = weight · scale · Σ over this invocation's elements of w (prediction − target)²,
// gradient = 2 · scale · w (prediction − target), w being the row's weight. column_sum adds the partials up.

struct MseParams {
    len: u32,
    invocations: u32,
    prediction: u32,
    expected: u32,
    gradient: u32,
    has_gradient: u32,
    scale: f32,
    loss_weight: f32,
    row_weights: u32,
    row_width: u32, // 0 where rows have no weights
}

@group(0) @binding(0) var<storage, read> params: MseParams;
@group(0) @binding(1) var<storage, read> prediction: array<f32>;     // [N]
@group(0) @binding(2) var<storage, read> expected: array<f32>;       // [N]
@group(0) @binding(3) var<storage, read> row_weights: array<f32>;    // [M]
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;  // [invocations]
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>; // [N]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index >= params.invocations {
        return;
    }
    var sum = 0.0;
    for (var i = index; i < params.len; i += params.invocations) {
        var weight = 1.0;
        if params.row_width != 0u {
            weight = row_weights[params.row_weights + i / params.row_width];
        }
        var difference = prediction[params.prediction + i] - expected[params.expected + i];
        if weight == 0.0 {
            // The row is left out, whatever it holds.
            difference = 0.0;
        }
        sum = fma(weight * difference, difference, sum);
        if params.has_gradient != 0u {
            gradient[params.gradient + i] = 2.0 * params.scale * weight * difference;
        }
    }
    partial[index] = params.loss_weight * params.scale * sum;
}
