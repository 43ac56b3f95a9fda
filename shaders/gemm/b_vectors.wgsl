// The right operand in f32, as vectors of four.

@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>; // [K, N], or [N, K] where TRANSPOSE_B

fn b_vector(at: u32) -> vec4<f32> {
    return b[at];
}
