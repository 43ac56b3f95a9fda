// g += decay p; v = momentum v + g; p −= rate (g, or v, or g + momentum v)

struct SgdParams {
    len: u32,
    parameter: u32,
    gradient: u32,
    velocity: u32,
    scalars: u32,
    clip: u32,
    has_velocity: u32,
    nesterov: u32,
    has_clip: u32,
}

@group(0) @binding(0) var<storage, read> params: SgdParams;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;        // [N]
@group(0) @binding(2) var<storage, read> scalars: array<f32>;         // [3]: rate, momentum, decay
@group(0) @binding(3) var<storage, read> clip: array<f32>;            // [2]: norm, scale
@group(0) @binding(4) var<storage, read_write> parameter: array<f32>; // [N]
@group(0) @binding(5) var<storage, read_write> velocity: array<f32>;  // [N]

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
    let rate = scalars[params.scalars];
    let momentum = scalars[params.scalars + 1u];
    let decay = scalars[params.scalars + 2u];
    var g = gradient[params.gradient + index];
    if params.has_clip != 0u {
        g *= clip[params.clip + 1u];
    }
    let p = parameter[params.parameter + index];
    g += decay * p;
    var step = g;
    if params.has_velocity != 0u {
        let v = momentum * velocity[params.velocity + index] + g;
        velocity[params.velocity + index] = v;
        step = select(v, g + momentum * v, params.nesterov != 0u);
    }
    parameter[params.parameter + index] = p - rate * step;
}
