// The LSTM with options. Gates i, f, g, o with GATE_0 … GATE_3, GATE_4 as c's activation; states h, c. Diagonal weights p_i, p_f,
// p_o where PEEPHOLES: i and f see c₋, o sees c. f = 1 − i where INPUT_FORGET. Saves the arguments of i, f, g, o, and c₋.

const GATES: u32 = 4u;
const STATES: u32 = 2u;
const SAVED: u32 = 5u;

struct Peepholes {
    input: f32,
    forget: f32,
    output: f32,
}

fn peepholes(diagonal: array<f32, DIAGONAL_SLOTS>) -> Peepholes {
    if PEEPHOLES {
        return Peepholes(diagonal[0], diagonal[min(1u, DIAGONAL_SLOTS - 1u)], diagonal[DIAGONAL_SLOTS - 1u]);
    }
    return Peepholes(0.0, 0.0, 0.0);
}

fn forget_gate(input: f32, argument: f32) -> f32 {
    if INPUT_FORGET {
        return 1.0 - input;
    }
    return gate_value(GATE_1, argument);
}

fn cell_clipped(c: f32) -> f32 {
    if HAS_CELL_CLIP {
        return clipped(c, CELL_CLIP);
    }
    return c;
}

fn cell_forward(in: CellIn) -> CellForward {
    let p = peepholes(in.diagonal);
    let c_before = in.before[1];
    let i = in.x[0] + in.r[0] + p.input * c_before;
    let f = in.x[1] + in.r[1] + p.forget * c_before;
    let g = in.x[2] + in.r[2];
    let input = gate_value(GATE_0, i);
    let c = cell_clipped(forget_gate(input, f) * c_before + input * gate_value(GATE_2, g));
    let o = in.x[3] + in.r[3] + p.output * c;
    return CellForward(
        array<f32, STATES>(gate_value(GATE_3, o) * gate_value(GATE_4, c), c),
        array<f32, SAVED>(i, f, g, o, c_before),
    );
}

fn cell_backward(in: CellBackIn) -> CellBackward {
    let p = peepholes(in.diagonal);
    let c_before = in.saved[4];
    let input = gate_value(GATE_0, in.saved[0]);
    let forget = forget_gate(input, in.saved[1]);
    let candidate = gate_value(GATE_2, in.saved[2]);
    let raw = forget * c_before + input * candidate;
    let c = cell_clipped(raw);
    let d_h = in.d_state[0];
    let d_o = d_h * gate_value(GATE_4, c) * gate_slope(GATE_3, in.saved[3]);
    var d_c = in.d_state[1] + d_h * gate_value(GATE_3, in.saved[3]) * gate_slope(GATE_4, c) + d_o * p.output;
    if HAS_CELL_CLIP && abs(raw) > CELL_CLIP {
        d_c = 0.0;
    }
    var d_i = d_c * candidate;
    var d_f = d_c * c_before;
    if INPUT_FORGET {
        d_i -= d_f;
        d_f = 0.0;
    } else {
        d_f *= gate_slope(GATE_1, in.saved[1]);
    }
    d_i *= gate_slope(GATE_0, in.saved[0]);
    let d_g = d_c * input * gate_slope(GATE_2, in.saved[2]);
    var out: CellBackward;
    out.d_x = array<f32, GATES>(d_i, d_f, d_g, d_o);
    out.d_r = out.d_x;
    out.d_before[1] = d_c * forget + d_i * p.input + d_f * p.forget;
    if PEEPHOLES {
        // Slots by expressions that stay in bounds where there are no peepholes and one slot.
        out.d_diagonal[0] = d_i * c_before;
        out.d_diagonal[min(1u, DIAGONAL_SLOTS - 1u)] = d_f * c_before;
        out.d_diagonal[DIAGONAL_SLOTS - 1u] = d_o * c;
    }
    return out;
}
