// Gates i, f, g, o; states h, c: c = f c₋ + i g, h = o tanh(c). Saves i, f, g, o, c₋.

const GATES: u32 = 4u;
const STATES: u32 = 2u;
const SAVED: u32 = 5u;

fn cell_forward(x: array<f32, GATES>, r: array<f32, GATES>, before: array<f32, STATES>) -> CellForward {
    let input = sigmoid(x[0] + r[0]);
    let forget = sigmoid(x[1] + r[1]);
    let candidate = tanh_exact(x[2] + r[2]);
    let output = sigmoid(x[3] + r[3]);
    let c = forget * before[1] + input * candidate;
    return CellForward(
        array<f32, STATES>(output * tanh_exact(c), c),
        array<f32, SAVED>(input, forget, candidate, output, before[1]),
    );
}

fn cell_backward(saved: array<f32, SAVED>, d_state: array<f32, STATES>) -> CellBackward {
    let input = saved[0];
    let forget = saved[1];
    let candidate = saved[2];
    let output = saved[3];
    let tanh_c = tanh_exact(forget * saved[4] + input * candidate);
    let d_c = d_state[1] + d_state[0] * output * (1.0 - tanh_c * tanh_c);
    let d = array<f32, GATES>(
        d_c * candidate * input * (1.0 - input),
        d_c * saved[4] * forget * (1.0 - forget),
        d_c * input * (1.0 - candidate * candidate),
        d_state[0] * tanh_c * output * (1.0 - output),
    );
    return CellBackward(d, d, array<f32, STATES>(0.0, d_c * forget));
}
