// States of a recurrent layer moved between a tensor and the memory that a step hands them on in,
// where the rows of h are padded with zeros, and what stands behind the states starts at zero.

@group(0) @binding(1) var<storage, read> from_states: array<f32>;     // [S][D, B, ·]
@group(0) @binding(2) var<storage, read_write> to_states: array<f32>; // [S][D, B, ·]

fn each_invocation(index: u32) {
    if index >= params.len {
        return;
    }
    let h = params.rows * params.to_width;
    var at = params.rows * params.from_width + index - h;
    var found = index < h + params.rest;
    if index < h {
        at = index / params.to_width * params.from_width + index % params.to_width;
        found = index % params.to_width < params.width;
    }
    var value = 0.0;
    if found {
        value = from_states[params.from_at + at];
    }
    to_states[params.to_at + index] = value;
}
