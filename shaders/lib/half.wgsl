// The bits of the nearest number in f16, of two the even one, alike on all devices: WGSL lets `pack2x16float` take either
// neighbour. What is too large is held at the largest, but infinities stay.
fn half(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    let sign = (bits >> 16u) & 0x8000u;
    let size = bits & 0x7fffffffu;
    if size > 0x7f800000u {
        return sign | 0x7e00u; // not a number
    }
    if size == 0x7f800000u {
        return sign | 0x7c00u;
    }
    if size < 0x38800000u {
        // Below 2⁻¹⁴ f16 counts in steps of 2⁻²⁴.
        return sign | u32(round(bitcast<f32>(size) * 16777216.0));
    }
    // 13 bits go, and the exponent counts from 15 instead of 127.
    let held = min(size, 0x477fe000u);
    return sign | ((held + 0xfffu + ((held >> 13u) & 1u) - 0x38000000u) >> 13u);
}

fn halves(values: vec4<f32>) -> vec2<u32> {
    return vec2<u32>(half(values.x) | (half(values.y) << 16u), half(values.z) | (half(values.w) << 16u));
}
