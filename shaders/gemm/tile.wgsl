// A register tile without barriers: an invocation owns 8 · BLOCKS rows of four neighbouring columns. A workgroup's invocations
// share their rows; `left_parts` says how they come by them. The blocks are written out, as drivers do not unroll loops of this
// size, and without that the sums are no registers.

var<private> sum: array<array<vec4<f32>, 8>, BLOCKS>;

// One of eight parts of the 8 rows from `first_row` over four steps: a row's four steps; where a is transposed, step part / 2
// of four rows. Rows past the edge repeat the last.
fn left_part(first_row: u32, step: u32, part: u32) -> vec4<f32> {
    if TRANSPOSE_A {
        let rows = min(first_row / 4u + part % 2u, params.m / 4u - 1u);
        return a[(params.a + (4u * step + part / 2u) * params.a_stride) / 4u + rows];
    }
    let row = min(first_row + part, params.m - 1u);
    return a[(params.a + row * params.a_stride) / 4u + step];
}

// Adds four steps to 8 rows.
fn add_block(block: u32, first_row: u32, step: u32, right: mat4x4<f32>) {
    var rows = left_parts(first_row + 8u * block, step);
    if TRANSPOSE_A {
        let low = transpose(mat4x4<f32>(rows[0], rows[2], rows[4], rows[6]));
        let high = transpose(mat4x4<f32>(rows[1], rows[3], rows[5], rows[7]));
        rows = array(low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]);
    }
    for (var row = 0u; row < 8u; row++) {
        var total = sum[block][row];
        total = fma(vec4<f32>(rows[row].x), right[0], total);
        total = fma(vec4<f32>(rows[row].y), right[1], total);
        total = fma(vec4<f32>(rows[row].z), right[2], total);
        total = fma(vec4<f32>(rows[row].w), right[3], total);
        sum[block][row] = total;
    }
}

fn start_block(block: u32, first_row: u32, columns: u32) {
    for (var row = 0u; row < 8u; row++) {
        sum[block][row] = before(first_row + 8u * block + row, columns);
    }
}

fn store_block(block: u32, first_row: u32, columns: u32, part: u32, bias: vec4<f32>) {
    for (var row = 0u; row < 8u; row++) {
        store(first_row + 8u * block + row, columns, part, sum[block][row] + bias);
    }
}

fn multiply(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) {
    let groups_n = (params.n / 4u + GROUP - 1u) / GROUP;
    let group = linear_workgroup(workgroup, workgroups);
    let first_row = (group / groups_n) * 8u * BLOCKS;
    let columns = (group % groups_n) * GROUP + local;
    let part = workgroup.z;
    if first_row >= params.m {
        return;
    }

    start_block(0u, first_row, columns);
    if BLOCKS > 1u { start_block(1u, first_row, columns); }
    if BLOCKS > 2u { start_block(2u, first_row, columns); }
    if BLOCKS > 3u { start_block(3u, first_row, columns); }

    let end = min(params.k, (part + 1u) * params.part_steps) / 4u;
    for (var step = part * params.part_steps / 4u; step < end; step++) {
        let right = right_square(columns, step);
        add_block(0u, first_row, step, right);
        if BLOCKS > 1u { add_block(1u, first_row, step, right); }
        if BLOCKS > 2u { add_block(2u, first_row, step, right); }
        if BLOCKS > 3u { add_block(3u, first_row, step, right); }
    }

    let bias = bias_of(columns);
    store_block(0u, first_row, columns, part, bias);
    if BLOCKS > 1u { store_block(1u, first_row, columns, part, bias); }
    if BLOCKS > 2u { store_block(2u, first_row, columns, part, bias); }
    if BLOCKS > 3u { store_block(3u, first_row, columns, part, bias); }
}
