// What the recurrence kernels read of their packed weights and of what lies behind these: all f32.

alias Packed = vec4<f32>;

// The weights of one column and 4 inputs.
fn weight_vector(at: u32) -> vec4<f32> {
    return weight[at];
}

// A number of the constants behind the weights.
fn packed(at: u32) -> f32 {
    return weight[at / 4u][at % 4u];
}

fn packed_vector(at: u32) -> vec4<f32> {
    return weight[at];
}
