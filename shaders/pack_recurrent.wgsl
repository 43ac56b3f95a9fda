// What is constant over a sequence, packed into one buffer: weights from PyTorch's rows [D][G·U, K] to [D, K, U, G], then biases from
// [D][G·U] to [D, U, G] (zeros where there are none), diagonal weights from [D][V·U] to [D, V, U], and the mask [D, B, G, K] as it
// is. Once a run of a program.

struct PackRecurrentParams {
    units: u32,
    inputs: u32,
    gates: u32,
    directions: u32,
    diagonals: u32,
    weight: u32,
    weight_stride: u32,
    bias: u32,
    bias_stride: u32,
    has_bias: u32,
    diagonal: u32,
    diagonal_stride: u32,
    mask: u32,
    weights_len: u32,
    biases_len: u32,
    diagonals_len: u32,
    len: u32,
}

@group(0) @binding(0) var<storage, read> params: PackRecurrentParams;
@group(0) @binding(1) var<storage, read> weight: array<f32>;       // [D][G·U, K]
@group(0) @binding(2) var<storage, read> bias: array<f32>;         // [D][G·U]
@group(0) @binding(3) var<storage, read> diagonal: array<f32>;     // [D][V·U]
@group(0) @binding(4) var<storage, read> mask: array<f32>;         // [D, B, G, K]
@group(0) @binding(5) var<storage, read_write> packed: array<f32>;

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index >= params.len {
        return;
    }
    let units = params.units;
    var i = index;
    if i < params.weights_len {
        let row = (i % params.gates) * units + (i / params.gates) % units;
        let k = (i / (params.gates * units)) % params.inputs;
        let direction = i / (params.gates * units * params.inputs);
        packed[index] = weight[params.weight + direction * params.weight_stride + row * params.inputs + k];
        return;
    }
    i -= params.weights_len;
    if i < params.biases_len {
        let row = (i % params.gates) * units + (i / params.gates) % units;
        let direction = i / (params.gates * units);
        packed[index] = 0.0;
        if params.has_bias != 0u {
            packed[index] = bias[params.bias + direction * params.bias_stride + row];
        }
        return;
    }
    i -= params.biases_len;
    if i < params.diagonals_len {
        let width = params.diagonals * units;
        packed[index] = diagonal[params.diagonal + (i / width) * params.diagonal_stride + i % width];
        return;
    }
    packed[index] = mask[params.mask + i - params.diagonals_len];
}
