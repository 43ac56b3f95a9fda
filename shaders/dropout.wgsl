// output[i] = input[i] · m[i mod period], m being 0 with probability rate, else 1 / (1 − rate): word i mod 4 of Philox at block i div 4
// against a threshold. An invocation has four elements of output, which share a block where the period allows.

struct DropoutParams {
    len: u32,
    period: u32,
    input: u32,
    output: u32,
    has_input: u32,
    rng: u32,
    site: u32,
    threshold: u32,
    kept: f32,
}

@group(0) @binding(0) var<storage, read> params: DropoutParams;
@group(0) @binding(1) var<storage, read> input: array<f32>;        // [N]
@group(0) @binding(2) var<storage, read> rng: array<f32>;          // [8]: seed and step, 16 bits an element
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // [N]

fn rng_word(part: u32) -> u32 {
    return u32(rng[params.rng + part]) | (u32(rng[params.rng + part + 1u]) << 16u);
}

const SIZE: u32 = 64u;

@compute @workgroup_size(SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_workgroup(workgroup, workgroups) * SIZE + local;
    let first = index * 4u;
    if first >= params.len {
        return;
    }
    let key = vec2<u32>(rng_word(0u), rng_word(2u));
    var block = first % params.period / 4u;
    var words = philox(vec4<u32>(block, params.site, rng_word(4u), rng_word(6u)), key);
    for (var i = first; i < min(first + 4u, params.len); i++) {
        let place = i % params.period;
        if place / 4u != block {
            block = place / 4u;
            words = philox(vec4<u32>(block, params.site, rng_word(4u), rng_word(6u)), key);
        }
        var value = params.kept;
        if params.has_input != 0u {
            value *= input[params.input + i];
        }
        output[params.output + i] = select(value, 0.0, words[place % 4u] < params.threshold);
    }
}
