// A register tile for matrices at any offset and of any size. An invocation owns TILE_M × TILE_N elements of c in registers. A
// workgroup's invocations share their rows, so that what they read of a is one value for all (a scalar load on many GPUs, and a
// broadcast on software adapters); their columns interleave, so that neighbours read neighbouring memory. Elements past the edge
// repeat the last row or column and are not stored: no size needs to divide anything. The right operand b is in `gemm/b_numbers`
// or `b_half`.

@group(0) @binding(1) var<storage, read> a: array<f32>;       // [M, K], or [K, M] where TRANSPOSE_A
@group(0) @binding(3) var<storage, read> bias: array<f32>;    // [N]
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [M, N]

const GROUP: u32 = 32u;
const TILE_M: u32 = 8u;
const TILE_N: u32 = 4u;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let groups_n = (params.n + GROUP * TILE_N - 1u) / (GROUP * TILE_N);
    let group = linear_workgroup(workgroup, workgroups);
    let first_row = (group / groups_n) * TILE_M;
    let first_column = (group % groups_n) * GROUP * TILE_N + local;
    if first_row >= params.m || first_column >= params.n {
        return;
    }

    var a_at: array<u32, TILE_M>;
    for (var i = 0u; i < TILE_M; i++) {
        let row = min(first_row + i, params.m - 1u);
        a_at[i] = params.a + select(row * params.a_stride, row, TRANSPOSE_A);
    }
    let columns = min(vec4<u32>(first_column) + vec4<u32>(0u, 1u, 2u, 3u) * GROUP, vec4<u32>(params.n - 1u));
    let b_at = params.b + select(columns, columns * params.b_stride, TRANSPOSE_B);
    let a_step = select(1u, params.a_stride, TRANSPOSE_A);
    let b_step = select(params.b_stride, 1u, TRANSPOSE_B);

    let part = workgroup.z;
    let c_at = params.c + part * params.part_stride;
    var sum: array<vec4<f32>, TILE_M>;
    if ACCUMULATE {
        for (var i = 0u; i < TILE_M; i++) {
            let at = vec4<u32>(c_at + min(first_row + i, params.m - 1u) * params.c_stride) + columns;
            sum[i] = vec4<f32>(c[at.x], c[at.y], c[at.z], c[at.w]);
        }
    }
    let end = min(params.k, (part + 1u) * params.part_steps);
    for (var k = part * params.part_steps; k < end; k++) {
        let at = b_at + k * b_step;
        let right = vec4<f32>(b_number(at.x), b_number(at.y), b_number(at.z), b_number(at.w));
        for (var i = 0u; i < TILE_M; i++) {
            sum[i] = fma(vec4<f32>(a[a_at[i] + k * a_step]), right, sum[i]);
        }
    }

    var added = vec4<f32>(0.0);
    if HAS_BIAS {
        let at = params.bias + columns;
        added = vec4<f32>(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
    }
    for (var i = 0u; i < TILE_M; i++) {
        let value = sum[i] + added;
        for (var j = 0u; j < TILE_N; j++) {
            let row = first_row + i;
            let column = first_column + j * GROUP;
            if row < params.m && column < params.n {
                c[c_at + row * params.c_stride + column] = value[j];
            }
        }
    }
}
