// Operands as vectors of four (b's are in `b_vectors` or `b_half`), for matrices whose offsets, rows and sizes are multiples of
// four where they must be.

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;       // [M, K], or [K, M] where TRANSPOSE_A
@group(0) @binding(3) var<storage, read> bias: array<f32>;          // [N]
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>; // [M, N]

fn right_rows(at: u32, stride: u32) -> mat4x4<f32> {
    return mat4x4<f32>(b_vector(at), b_vector(at + stride), b_vector(at + 2u * stride), b_vector(at + 3u * stride));
}

// Four steps of four columns: row i is step 4·step + i. A column past the edge repeats the last.
fn right_square(columns: u32, step: u32) -> mat4x4<f32> {
    let stride = params.b_stride / 4u;
    let inside = min(columns, params.n / 4u - 1u);
    if TRANSPOSE_B {
        let at = params.b / 4u + 4u * inside * stride + step;
        return transpose(right_rows(at, stride));
    }
    let at = params.b / 4u + 4u * step * stride + inside;
    return right_rows(at, stride);
}

// What c holds before the sum: four columns of a row.
fn before(row: u32, columns: u32) -> vec4<f32> {
    var value = vec4<f32>(0.0);
    if ACCUMULATE {
        let inside = min(columns, params.n / 4u - 1u);
        value = c[(params.c + min(row, params.m - 1u) * params.c_stride) / 4u + inside];
    }
    return value;
}

// The bias of four columns.
fn bias_of(columns: u32) -> vec4<f32> {
    var value = vec4<f32>(0.0);
    if HAS_BIAS {
        let at = params.bias + 4u * min(columns, params.n / 4u - 1u);
        value = vec4<f32>(bias[at], bias[at + 1u], bias[at + 2u], bias[at + 3u]);
    }
    return value;
}

fn store(row: u32, columns: u32, part: u32, value: vec4<f32>) {
    if row < params.m && 4u * columns < params.n {
        c[(params.c + part * params.part_stride + row * params.c_stride) / 4u + columns] = value;
    }
}
