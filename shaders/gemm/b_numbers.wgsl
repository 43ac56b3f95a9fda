// The right operand in f32, at any offset.

@group(0) @binding(2) var<storage, read> b: array<f32>; // [K, N], or [N, K] where TRANSPOSE_B

fn b_number(at: u32) -> f32 {
    return b[at];
}
