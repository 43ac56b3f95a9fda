// NaN, told by its bits: WGSL lets an implementation assume that there is none, so that comparisons, min(), max() and the
// builtin functions may make a number of one.

fn has_nan_bits(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// y, a function's value at x; NaN where x is.
fn keep_nan(x: f32, y: f32) -> f32 {
    return select(y, x, has_nan_bits(x));
}

// Whether x ≤ 0, which a NaN is not.
fn at_most_zero(x: f32) -> bool {
    let bits = bitcast<u32>(x);
    return bits - 1u >= 0x7fffffffu && bits <= 0xff800000u;
}

// The larger of two numbers; NaN where one is.
fn larger(a: f32, b: f32) -> f32 {
    return keep_nan(a, keep_nan(b, max(a, b)));
}

// The number of some bits: a function, as constant expressions must be finite.
fn of_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}
