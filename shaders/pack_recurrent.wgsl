// What is constant over a sequence, packed into one buffer, once until it changes: the weights so that 4 inputs of one column are
// one vec4, columns that an invocation owns are neighbours, and inputs past the last are zeros up to a multiple of 32; then
// biases, diagonal weights, mask, and the weights of the inputs with their biases. HALF: both weights in f16, two a word; not
// those of the inputs.
//   forward     W [D][G·U, K] to [D, K/4, U, G], W_hr [D][P, H] to [D, H/4, P]; biases [D][G·U] to [D, U, G]; mask [D, B, G, K] to [D, B, G, K/4];
//               W_ih [D][G·U, I] and b_ih [D][G·U] to [D, I + 1, U, G]
//   TRANSPOSED  W [D][G·K, U] to [D, G, K/4, U], W_hr [D][P, H] to [D, P/4, H], U and H up to a multiple of 4; mask as it is

@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> projection: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> diagonal: array<f32>;     // [D][V·U]
@group(0) @binding(5) var<storage, read> mask: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<f32>;        // W_ih, and b_ih in the same tensor
@group(0) @binding(7) var<storage, read_write> packed: array<u32>; // the bits of f32, or of two f16

override TRANSPOSED: bool = false;
override HALF: bool = false;

fn each_invocation(i: u32) {
    if i >= params.len {
        return;
    }
    if HALF && i < params.bias_at {
        packed[i] = half(matrix_element(2u * i)) | (half(matrix_element(2u * i + 1u)) << 16u);
        return;
    }
    var value = 0.0;
    if i < params.bias_at {
        value = matrix_element(i);
    } else if i < params.diagonal_at {
        let row = ((i - params.bias_at) % params.gates) * params.units + ((i - params.bias_at) / params.gates) % params.units;
        let direction = (i - params.bias_at) / (params.gates * params.units);
        if params.has_bias != 0u {
            value = bias[params.bias + direction * params.bias_stride + row];
        }
    } else if i < params.mask_at {
        // Between them and the mask there may be room.
        let width = params.diagonals;
        let direction = (i - params.diagonal_at) / max(width, 1u);
        if width > 0u {
            value = diagonal[params.diagonal + direction * params.diagonal_stride + (i - params.diagonal_at) % width];
        }
    } else if i < params.input_at {
        let k = (i - params.mask_at) % params.mask_width;
        let row = (i - params.mask_at) / params.mask_width;
        if k < params.mask_inputs {
            value = mask[params.mask + row * params.mask_inputs + k];
        }
    } else if i < params.input_end {
        value = input_element(i - params.input_at);
    }
    packed[i] = bitcast<u32>(value);
}

// Element i of the packed weights of the inputs.
fn input_element(i: u32) -> f32 {
    let width = params.units * params.gates;
    let column = i % width;
    let row = (column % params.gates) * params.units + column / params.gates;
    let k = (i / width) % (params.layer_inputs + 1u);
    let direction = i / (width * (params.layer_inputs + 1u));
    if k < params.layer_inputs {
        return input[params.input + direction * params.input_stride + row * params.layer_inputs + k];
    }
    if params.has_input_bias != 0u {
        return input[params.input_bias + direction * params.input_bias_stride + row];
    }
    return 0.0;
}

// Element i of both packed matrices, one behind the other.
fn matrix_element(i: u32) -> f32 {
    var value = 0.0;
    if i < params.projection_at {
        let origin = source(i, params.inputs, params.units, params.gates);
        if origin.found {
            value = weight[params.weight + origin.direction * params.weight_stride + origin.at];
        }
    } else {
        let origin = source(i - params.projection_at, params.projected_inputs, params.projected_units, 1u);
        if origin.found {
            value = projection[params.projection + origin.direction * params.projection_stride + origin.at];
        }
    }
    return value;
}

struct Source {
    found: bool,
    direction: u32,
    at: u32,
}

// Where element i of a packed matrix comes from.
fn source(i: u32, inputs: u32, units: u32, gates: u32) -> Source {
    let columns = select(units * gates, (units + 3u) / 4u * 4u, TRANSPOSED);
    let quads = (inputs + 31u) / 32u * 8u;
    let vector = i / 4u;
    let column = vector % columns;
    let k = (vector / columns) % quads * 4u + i % 4u;
    let block = vector / (columns * quads);
    if TRANSPOSED {
        let at = ((block % gates) * inputs + k) * units + column;
        return Source(k < inputs && column < units, block / gates, at);
    }
    let at = ((column % gates) * units + column / gates) * inputs + k;
    return Source(k < inputs, block, at);
}
