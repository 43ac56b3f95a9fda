// output[b, a, n] = input[a, b, n]

struct SwapAxesParams {
    a: u32,
    b: u32,
    n: u32,
    input: u32,
    output: u32,
}

@group(0) @binding(0) var<storage, read> params: SwapAxesParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;        // [A, B, N]
@group(0) @binding(2) var<storage, read_write> output: array<f32>; // [B, A, N]

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    if index >= params.a * params.b * params.n {
        return;
    }
    let n = index % params.n;
    let a = index / params.n % params.a;
    let b = index / (params.n * params.a);
    output[params.output + index] = input[params.input + (a * params.b + b) * params.n + n];
}
