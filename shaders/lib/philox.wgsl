// Philox4x32-10 (Salmon, Moraes, Dror & Shaw, 2011): four random words for a counter and a key, the same on every device.

// The 64-bit product of two words, as (high, low): WGSL has no 64-bit integers.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    // Neither sum overflows: (2¹⁶ − 1)² + 2 (2¹⁶ − 1) = 2³² − 1.
    let middle = a_high * b_low + (low >> 16u);
    let other = a_low * b_high + (middle & 0xffffu);
    return vec2<u32>(a_high * b_high + (middle >> 16u) + (other >> 16u), a * b);
}

fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let first = wide_product(c.x, 0xd2511f53u);
        let second = wide_product(c.z, 0xcd9e8d57u);
        c = vec4<u32>(second.x ^ c.y ^ k.x, second.y, first.x ^ c.w ^ k.y, first.y);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// The word at a place of a site's stream.
fn random_word(place: u32, site: u32, seed: vec2<u32>, step: vec2<u32>) -> u32 {
    return philox(vec4<u32>(place / 4u, site, step), seed)[place % 4u];
}
