// The right operand in f16, as `pack_half` leaves it: from the first element on, rows padded with zeros to multiples of 16. No
// `enable f16`, as not every device has that.

@group(0) @binding(2) var<storage, read> b: array<vec2<u32>>; // [K, N], or [N, K] where TRANSPOSE_B

fn b_vector(at: u32) -> vec4<f32> {
    let halves = b[at];
    return vec4<f32>(unpack2x16float(halves.x), unpack2x16float(halves.y));
}

fn b_number(at: u32) -> f32 {
    return unpack2x16float(b[at / 4u][at / 2u % 2u])[at % 2u];
}
