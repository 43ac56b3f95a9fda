// The sum of a product's parts, in their order: c = (c +) Σ_p partial[p] (+ bias).

@group(0) @binding(1) var<storage, read> partial: array<f32>; // [parts, rows, columns]
@group(0) @binding(2) var<storage, read> bias: array<f32>;    // [columns]
@group(0) @binding(3) var<storage, read_write> c: array<f32>; // [rows, columns]

fn each_invocation(index: u32) {
    let size = params.rows * params.columns;
    if index >= size {
        return;
    }
    let column = index % params.columns;
    let at = params.c + (index / params.columns) * params.c_stride + column;
    var sum = 0.0;
    if params.accumulate != 0u {
        sum = c[at];
    }
    for (var part = 0u; part < params.parts; part++) {
        sum += partial[part * size + index];
    }
    if params.has_bias != 0u {
        sum += bias[params.bias + column];
    }
    c[at] = sum;
}
