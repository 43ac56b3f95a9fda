// What all kernels of c = op(a) · op(b) (+ c) (+ bias) have in common. Every one adds the products of an element in the order of
// k, one fma each, to what c held: which of them runs does not change a bit of the result, nor does a chain of them over parts of
// k.

override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;
// No parameters, as software adapters walk through the loads of a branch that no invocation takes.
override HAS_BIAS: bool = false;
override ACCUMULATE: bool = false;
