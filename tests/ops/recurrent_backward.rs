use super::recurrent_forward::{SIZES, forward};
use crate::common::Case;
use bptt::cell::{CellRef, builtin};
use bptt::program::RecurrentBackward;

/// A gradient passes through every step, so rounding errors of all of them meet in it.
const TOLERANCE: f64 = 1e-4;

fn case(
    cell: &CellRef,
    size: (usize, usize, usize),
    directions: usize,
    with: bool,
    ragged: bool,
) -> Case {
    let mut case = Case::new(13);
    let (mut op, saved) = forward(&mut case, cell, size, directions, with, ragged);
    op.saved = Some(saved);
    let (steps, batch, hidden) = size;
    let rows = [steps, batch, directions];
    let state_len = op.last.len;
    let d_y = case.random("d_y", &[&rows[..], &[hidden]].concat(), 1.0);
    let d_state = if with {
        case.random("d_state", &[state_len], 1.0)
    } else {
        // Must be ignored.
        case.given("d_state", &[state_len], vec![1.0; state_len])
    };
    case.also_output(d_state);
    let gates = [&rows[..], &[cell.gates() * hidden]].concat();
    let d_x = case.output("d_x", &gates);
    let d_r = (!cell.shared_gradient()).then(|| case.output("d_r", &gates));
    let backward = RecurrentBackward {
        cell: cell.clone(),
        shape: op.shape,
        weight_hh: op.weight_hh,
        saved,
        d_y,
        lengths: op.lengths,
        d_state,
        has_d_last: with,
        // Without it the gradient of the initial h is not complete, and not equal between devices either.
        wants_initial: true,
        d_x,
        d_r,
    };
    case.program.push(op);
    case.program.push(backward);
    case
}

#[test]
fn every_cell_size_and_direction() {
    for cell in builtin() {
        for size in SIZES {
            for directions in [1, 2] {
                for (with, ragged) in [(true, false), (false, false), (true, true), (false, true)] {
                    case(&cell, size, directions, with, ragged).check(TOLERANCE);
                }
            }
        }
    }
}
