// Gates i, f, g, o; states h, c: c = f c₋ + i g, h = o tanh(c). Saves i, f, g, o, c₋.

const GATES: u32 = 4u;
const STATES: u32 = 2u;
const SAVED: u32 = 5u;

fn cell_forward(in: CellIn) -> CellForward {
    let input = sigmoid(in.x[0] + in.r[0]);
    let forget = sigmoid(in.x[1] + in.r[1]);
    let candidate = tanh_exact(in.x[2] + in.r[2]);
    let output = sigmoid(in.x[3] + in.r[3]);
    let c = forget * in.before[1] + input * candidate;
    return CellForward(
        array<f32, STATES>(output * tanh_exact(c), c),
        array<f32, SAVED>(input, forget, candidate, output, in.before[1]),
    );
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let input = in.saved[0];
    let forget = in.saved[1];
    let candidate = in.saved[2];
    let output = in.saved[3];
    let tanh_c = tanh_exact(forget * in.saved[4] + input * candidate);
    let d_c = in.d_state[1] + in.d_state[0] * output * (1.0 - tanh_c * tanh_c);
    var out: CellBackward;
    out.d_x = array<f32, GATES>(
        d_c * candidate * input * (1.0 - input),
        d_c * in.saved[4] * forget * (1.0 - forget),
        d_c * input * (1.0 - candidate * candidate),
        in.d_state[0] * tanh_c * output * (1.0 - output),
    );
    out.d_r = out.d_x;
    out.d_before[1] = d_c * forget;
    return out;
}
