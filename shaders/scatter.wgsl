// Rows added up by their index: output[v] = Σ over the n with indices[n] = v of input[n] (+ output[v]), in the order of n, so
// that the bits never change. An invocation owns an element of the output and looks at all indices.

@group(0) @binding(1) var<storage, read> input: array<f32>;        // [N, E]
@group(0) @binding(2) var<storage, read> indices: array<u32>;      // [N]
@group(0) @binding(3) var<storage, read_write> output: array<f32>; // [V, E]

fn each_invocation(index: u32) {
    if index >= params.rows * params.columns {
        return;
    }
    let row = index / params.columns;
    let column = index % params.columns;
    let at = params.output + row * params.output_stride + column;
    var sum = 0.0;
    if params.accumulate != 0u {
        sum = output[at];
    }
    for (var n = 0u; n < params.count; n++) {
        if indices[params.indices + n] == row {
            sum += input[params.input + n * params.input_stride + column];
        }
    }
    output[at] = sum;
}
