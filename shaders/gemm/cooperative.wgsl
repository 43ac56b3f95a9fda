// c = a · bᵀ (+ c) (+ bias) by cooperative matrices, both operands in f16 as `pack_half` leaves them, sums in f32. A subgroup
// owns 2 × 2 tiles of SIDE × SIDE elements of c; M and N are multiples of SIDE, steps past K are zeros. A tile past the edge is
// the last one once more, which changes nothing. What decides which tiles a subgroup works on is the same for all its
// invocations.

@group(0) @binding(1) var<storage, read> a: array<f16>;        // [M, K]
@group(0) @binding(2) var<storage, read> b: array<f16>;        // [N, K]
@group(0) @binding(3) var<storage, read> bias: array<f32>;     // [N]
@group(0) @binding(4) var<storage, read_write> c: array<f32>;  // [M, N]

const GROUP: u32 = 64u;

// What c held and the bias, which is the same for all rows: a stride of 0.
fn before(at: u32, column: u32) -> Sum {
    var sum = Sum();
    if ACCUMULATE {
        sum = coopLoadT<Sum>(&c[at], params.c_stride);
    }
    if HAS_BIAS {
        sum = sum + coopLoadT<Sum>(&bias[params.bias + column], 0u);
    }
    return sum;
}

// naga 30 takes no expressions here, but for what has a name.
fn after(sum: Sum, at: u32) {
    let stride = params.c_stride;
    coopStoreT(sum, &c[at], stride);
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let blocks_n = (params.n + 2u * SIDE - 1u) / (2u * SIDE);
    let blocks = (params.m + 2u * SIDE - 1u) / (2u * SIDE) * blocks_n;
    let first = linear_workgroup(workgroup, workgroups) * subgroups + subgroup;
    for (var block = first; block < blocks; block += workgroups.x * workgroups.y * subgroups) {
        let row = block / blocks_n * 2u * SIDE;
        let column = block % blocks_n * 2u * SIDE;
        let rows = vec2<u32>(row, min(row + SIDE, params.m - SIDE));
        let columns = vec2<u32>(column, min(column + SIDE, params.n - SIDE));
        let c0 = params.c + rows.x * params.c_stride + columns;
        let c1 = params.c + rows.y * params.c_stride + columns;
        var sum00 = before(c0.x, columns.x);
        var sum01 = before(c0.y, columns.y);
        var sum10 = before(c1.x, columns.x);
        var sum11 = before(c1.y, columns.y);
        for (var k = 0u; k < params.k; k += SIDE) {
            let a_at = rows * params.a_stride + k;
            let b_at = columns * params.b_stride + k;
            let left0 = coopLoadT<Left>(&a[a_at.x], params.a_stride);
            let left1 = coopLoadT<Left>(&a[a_at.y], params.a_stride);
            let right0 = coopLoad<Right>(&b[b_at.x], params.b_stride);
            let right1 = coopLoad<Right>(&b[b_at.y], params.b_stride);
            sum00 = coopMultiplyAdd(left0, right0, sum00);
            sum01 = coopMultiplyAdd(left0, right1, sum01);
            sum10 = coopMultiplyAdd(left1, right0, sum10);
            sum11 = coopMultiplyAdd(left1, right1, sum11);
        }
        after(sum00, c0.x);
        after(sum01, c0.y);
        after(sum10, c1.x);
        after(sum11, c1.y);
    }
}
