// What the recurrence kernels read of their packed weights, f16, and what lies behind these, f32.

alias Packed = vec2<u32>;

// The weights of one column and 4 inputs.
fn weight_vector(at: u32) -> vec4<f32> {
    let halves = weight[at];
    return vec4<f32>(unpack2x16float(halves.x), unpack2x16float(halves.y));
}

// A number of the constants behind the weights.
fn packed(at: u32) -> f32 {
    return bitcast<f32>(weight[at / 2u][at % 2u]);
}

fn packed_vector(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(weight[2u * at], weight[2u * at + 1u]));
}
