// Recurrent weights from PyTorch's rows [D][G·H, H] to [D, H (k), H (unit), G] for recurrent_forward, and after them the biases
// from [D][G·H] to [D, H, G], zeros where there are none: once a run of a program.

struct PackRecurrentParams {
    hidden: u32,
    gates: u32,
    directions: u32,
    weight: u32,
    weight_stride: u32,
    bias: u32,
    bias_stride: u32,
    has_bias: u32,
}

@group(0) @binding(0) var<storage, read> params: PackRecurrentParams;
@group(0) @binding(1) var<storage, read> weight: array<f32>;       // [D][G·H, H]
@group(0) @binding(2) var<storage, read> bias: array<f32>;         // [D][G·H]
@group(0) @binding(3) var<storage, read_write> packed: array<f32>; // [D, H, H, G], [D, H, G]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let hidden = params.hidden;
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    let weights = params.directions * hidden * hidden * params.gates;
    if index >= weights + params.directions * hidden * params.gates {
        return;
    }
    let gate = index % params.gates;
    let unit = (index / params.gates) % hidden;
    let row = gate * hidden + unit;
    if index < weights {
        let k = (index / (params.gates * hidden)) % hidden;
        let direction = index / (params.gates * hidden * hidden);
        packed[index] = weight[params.weight + direction * params.weight_stride + row * hidden + k];
    } else {
        let direction = (index - weights) / (params.gates * hidden);
        packed[index] = 0.0;
        if params.has_bias != 0u {
            packed[index] = bias[params.bias + direction * params.bias_stride + row];
        }
    }
}
