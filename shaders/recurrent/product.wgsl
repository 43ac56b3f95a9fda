// What both products of the recurrence kernels share. ROWS batch rows, OUTPUTS columns of the weights
// an invocation; INPUTS is 1, or GATES where each gate has inputs of its own (recurrent dropout).

alias Inputs = array<array<vec4<f32>, ROWS>, INPUTS>;
alias Sums = array<array<f32, OUTPUTS>, ROWS>;

// Adds the product of one lane's 4 inputs.
fn multiply_lane(inputs: Inputs, at: u32, first: u32, end: u32, sum: ptr<function, Sums>) {
    for (var column = first; column < end; column++) {
        let w = weight_vector(at + column);
        for (var row = 0u; row < ROWS; row++) {
            let x = inputs[min(column, INPUTS - 1u)][row];
            (*sum)[row][column] = fma(x.w, w.w, fma(x.z, w.z, fma(x.y, w.y, fma(x.x, w.x, (*sum)[row][column]))));
        }
    }
}
