// g += decay p; p *= kept; m = β₁ m + (1 − β₁) g; v = β₂ v + (1 − β₂) g²; p −= rate m / (√v / √c₂ + ε)

struct AdamParams {
    len: u32,
    parameter: u32,
    gradient: u32,
    first_moment: u32,
    second_moment: u32,
    scalars: u32,
    clip: u32,
    has_clip: u32,
}

@group(0) @binding(0) var<storage, read> params: AdamParams;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;            // [N]
@group(0) @binding(2) var<storage, read> scalars: array<f32>;             // [9]: lr/c₁, β₁, 1−β₁, β₂, 1−β₂, ε, √c₂, decay, kept
@group(0) @binding(3) var<storage, read> clip: array<f32>;                // [2]: norm, scale
@group(0) @binding(4) var<storage, read_write> parameter: array<f32>;     // [N]
@group(0) @binding(5) var<storage, read_write> first_moment: array<f32>;  // [N]
@group(0) @binding(6) var<storage, read_write> second_moment: array<f32>; // [N]

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
    let s = params.scalars;
    let rate = scalars[s];
    let beta1 = scalars[s + 1u];
    let rest1 = scalars[s + 2u];
    let beta2 = scalars[s + 3u];
    let rest2 = scalars[s + 4u];
    let epsilon = scalars[s + 5u];
    let correction2 = scalars[s + 6u];
    let decay = scalars[s + 7u];
    let kept = scalars[s + 8u];

    var g = gradient[params.gradient + index];
    if params.has_clip != 0u {
        g *= clip[params.clip + 1u];
    }
    let p = parameter[params.parameter + index];
    g += decay * p;
    let m = beta1 * first_moment[params.first_moment + index] + rest1 * g;
    let v = beta2 * second_moment[params.second_moment + index] + rest2 * g * g;
    first_moment[params.first_moment + index] = m;
    second_moment[params.second_moment + index] = v;
    parameter[params.parameter + index] = kept * p - rate * m / (sqrt(v) / correction2 + epsilon);
}
