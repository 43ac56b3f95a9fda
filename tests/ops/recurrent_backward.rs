use super::recurrent_forward::{Options, SIZES, basic, forward, further};
use crate::common::Case;
use bptt::CellRef;
use bptt::program::{GatesLayout, RecurrentBackward};

/// A gradient passes through every step, so rounding errors of all of them meet in it.
const TOLERANCE: f64 = 1e-4;

fn case(cell: &CellRef, size: (usize, usize, usize), options: Options) -> Case {
    let mut case = Case::new(13);
    let (mut op, saved) = forward(&mut case, cell, size, options);
    op.saved = Some(saved);
    let shape = op.shape;
    let d_y = case.random(
        "d_y",
        &[shape.steps, shape.batch, shape.directions, shape.output],
        1.0,
    );
    let state_len = op.last.len + shape.directions * shape.batch * cell.diagonals() * shape.hidden;
    let d_state = if options.with {
        case.random("d_state", &[state_len], 1.0)
    } else {
        // Must be ignored.
        case.given("d_state", &[state_len], vec![1.0; state_len])
    };
    case.also_output(d_state);
    let layout = GatesLayout::new(cell, &shape, options.projected);
    let backward = RecurrentBackward {
        cell: cell.clone(),
        shape,
        segment: op.segment,
        weights: op.weights,
        mask: op.mask,
        zoneout: op.zoneout,
        saved,
        d_y,
        lengths: op.lengths,
        d_state,
        has_d_last: options.with,
        // Without it the gradient of the initial h is not complete, and not equal between devices either.
        wants_initial: true,
        d_gates: case.output("d_gates", &[layout.len]),
    };
    case.program.push(op);
    case.program.push(backward);
    case
}

#[test]
fn every_cell_size_and_direction() {
    for cell in CellRef::builtin() {
        for size in SIZES {
            for options in basic() {
                case(&cell, size, options).check(TOLERANCE);
            }
        }
    }
}

#[test]
fn projection_mask_and_zoneout() {
    for cell in CellRef::builtin() {
        for size in [(4, 2, 5), (1, 3, 7), (3, 7, 65)] {
            for options in further(&cell) {
                case(&cell, size, options).check(TOLERANCE);
            }
        }
    }
}
