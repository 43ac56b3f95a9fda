// Multiply-adds in registers only: what the adapter's arithmetic can do at most. 16 independent chains of vec4 an invocation.

@group(0) @binding(0) var<storage, read_write> output: array<f32>;

const STEPS: u32 = 2048u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let start = f32(id.x) * 1e-9;
    let factor = vec4<f32>(0.999 + start);
    var chains: array<vec4<f32>, 16>;
    for (var chain = 0u; chain < 16u; chain++) {
        chains[chain] = vec4<f32>(start + f32(chain));
    }
    for (var step = 0u; step < STEPS; step++) {
        for (var chain = 0u; chain < 16u; chain++) {
            chains[chain] = fma(chains[chain], factor, vec4<f32>(0.001));
        }
    }
    var sum = vec4<f32>(0.0);
    for (var chain = 0u; chain < 16u; chain++) {
        sum += chains[chain];
    }
    output[id.x] = sum.x + sum.y + sum.z + sum.w;
}
