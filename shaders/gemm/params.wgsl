// What all kernels of c = op(a) · op(b) (+ c) (+ bias) have in common. Every one adds the products of an element in the order of k, one
// fma each, to what c held: which of them runs does not change a bit of the result, nor does a chain of them over parts of k.

struct GemmParams {
    m: u32,
    n: u32,
    k: u32,
    a: u32,
    b: u32,
    bias: u32,
    c: u32,
    a_stride: u32,
    b_stride: u32,
    c_stride: u32,
    // Steps of k of one part, and how far apart two parts' sums lie: parts are the third dimension of the workgroups.
    part_steps: u32,
    part_stride: u32,
}

@group(0) @binding(0) var<storage, read> params: GemmParams;

override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;
// No parameters, as software adapters walk through the loads of a branch that no invocation takes.
override HAS_BIAS: bool = false;
override ACCUMULATE: bool = false;
