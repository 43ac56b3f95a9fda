// A matrix rounded to f16, without gaps, its rows padded with zeros to `width` vectors of four.

@group(0) @binding(1) var<storage, read> matrix: array<f32>;             // [rows, columns]
@group(0) @binding(2) var<storage, read_write> packed: array<vec2<u32>>; // [rows, width]

fn each_invocation(i: u32) {
    if i >= params.rows * params.width {
        return;
    }
    let first = i % params.width * 4u;
    let row = params.matrix + i / params.width * params.stride;
    var values = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        if first + j < params.columns {
            values[j] = matrix[row + first + j];
        }
    }
    packed[i] = halves(values);
}
