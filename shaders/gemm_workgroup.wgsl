// A tile of 64 × 64 elements a workgroup, whose operands pass through workgroup memory 16 steps at a time (8 KiB); an invocation
// owns SIDE × SIDE elements as squares of 4 × 4 that lie apart, so that neighbours read neighbouring memory.

const STEPS: u32 = 16u;
const ACROSS: u32 = 64u / SIDE;
const_assert GROUP == ACROSS * ACROSS;
const SQUARES: u32 = SIDE / 4u;

var<workgroup> left: array<vec4<f32>, 256>;  // [STEPS, 64 rows / 4]
var<workgroup> right: array<vec4<f32>, 256>; // [STEPS, 64 columns / 4]

// Four steps of four rows, as `right_square`.
fn left_square(rows: u32, step: u32) -> mat4x4<f32> {
    if TRANSPOSE_A {
        let inside = min(rows, params.m / 4u - 1u);
        let stride = params.a_stride / 4u;
        let at = params.a / 4u + 4u * step * stride + inside;
        return mat4x4<f32>(a[at], a[at + stride], a[at + 2u * stride], a[at + 3u * stride]);
    }
    let row = min(vec4<u32>(4u * rows) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.m - 1u));
    let at = (vec4<u32>(params.a) + row * params.a_stride) / 4u + step;
    return transpose(mat4x4<f32>(a[at.x], a[at.y], a[at.z], a[at.w]));
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let groups_n = (params.n + 63u) / 64u;
    let group = linear_workgroup(workgroup, workgroups);
    let first_rows = (group / groups_n) * 16u;
    let first_columns = (group % groups_n) * 16u;
    let part = workgroup.z;
    if 4u * first_rows >= params.m {
        return;
    }
    let own_rows = local / ACROSS;
    let own_columns = local % ACROSS;

    var sum: array<array<vec4<f32>, SQUARES>, SIDE>;
    for (var i = 0u; i < SIDE; i++) {
        for (var j = 0u; j < SQUARES; j++) {
            let row = 4u * (first_rows + own_rows + (i / 4u) * ACROSS) + i % 4u;
            sum[i][j] = before(row, first_columns + own_columns + j * ACROSS);
        }
    }

    let end = min(params.k, (part + 1u) * params.part_steps) / 4u;
    for (var step = part * params.part_steps / 4u; step < end; step += STEPS / 4u) {
        // 64 squares of each operand: a square past the last step is 0.
        for (var i = local; i < 128u; i += GROUP) {
            let quad = i % 16u;
            let steps = (i / 16u) % 4u;
            var square = mat4x4<f32>();
            if step + steps < end {
                if i < 64u {
                    square = left_square(first_rows + quad, step + steps);
                } else {
                    square = right_square(first_columns + quad, step + steps);
                }
            }
            for (var k = 0u; k < 4u; k++) {
                let at = (4u * steps + k) * 16u + quad;
                if i < 64u {
                    left[at] = square[k];
                } else {
                    right[at] = square[k];
                }
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < STEPS; k++) {
            for (var i = 0u; i < SQUARES; i++) {
                let rows = left[k * 16u + own_rows + i * ACROSS];
                for (var j = 0u; j < SQUARES; j++) {
                    let columns = right[k * 16u + own_columns + j * ACROSS];
                    sum[4u * i][j] = fma(vec4<f32>(rows.x), columns, sum[4u * i][j]);
                    sum[4u * i + 1u][j] = fma(vec4<f32>(rows.y), columns, sum[4u * i + 1u][j]);
                    sum[4u * i + 2u][j] = fma(vec4<f32>(rows.z), columns, sum[4u * i + 2u][j]);
                    sum[4u * i + 3u][j] = fma(vec4<f32>(rows.w), columns, sum[4u * i + 3u][j]);
                }
            }
        }
        workgroupBarrier();
    }

    for (var j = 0u; j < SQUARES; j++) {
        let columns = first_columns + own_columns + j * ACROSS;
        let bias = bias_of(columns);
        for (var i = 0u; i < SIDE; i++) {
            let row = 4u * (first_rows + own_rows + (i / 4u) * ACROSS) + i % 4u;
            store(row, columns, part, sum[i][j] + bias);
        }
    }
}
