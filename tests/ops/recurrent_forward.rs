use crate::common::Case;
use bptt::cell::{CellRef, builtin};
use bptt::program::{PerDirection, RecurrentForward, RecurrentShape, Slice};
use bptt::verify::SINGLE;

/// T, B, H: no two equal, sizes that divide nothing.
pub const SIZES: [(usize, usize, usize); 8] = [
    (4, 2, 5),
    (1, 3, 7),
    (3, 1, 17),
    (2, 5, 1),
    (5, 7, 33),
    (3, 2, 65),
    (2, 3, 257),
    (17, 33, 3),
];

/// Lengths of every kind: 0, T and between, in no order.
fn lengths(case: &mut Case, steps: usize, batch: usize) -> Slice {
    let length = |row: usize| ((5 * row + 2) % (steps + 1)) as f32;
    case.given("lengths", &[batch], (0..batch).map(length).collect())
}

/// The forward pass of a cell with everything given, the states inside a larger tensor as in a stack of layers.
pub fn forward(
    case: &mut Case,
    cell: &CellRef,
    (steps, batch, hidden): (usize, usize, usize),
    directions: usize,
    with: bool,
    ragged: bool,
) -> (RecurrentForward, Slice) {
    let shape = RecurrentShape {
        steps,
        batch,
        hidden,
        directions,
        state_stride: 3 * directions * batch * hidden,
    };
    let (gates, states) = (cell.gates(), cell.states());
    let state_len = (states - 1) * shape.state_stride + directions * batch * hidden;
    let state_start = directions * batch * hidden;
    let rows = [steps, batch, directions];
    let bound = (hidden as f32).powf(-0.5);
    let x_gates = case.random("x_gates", &[&rows[..], &[gates * hidden]].concat(), 1.0);
    let weights = case.random(
        "weight",
        &[4 + directions * (gates * hidden * hidden + 3)],
        1.5 * bound,
    );
    let biases = case.random("bias", &[directions * (gates * hidden + 1)], 1.0);
    let initial = case.random("initial", &[states, 3, directions, batch, hidden], 1.0);
    let last = case.given(
        "last",
        &[states, 3, directions, batch, hidden],
        vec![0.0; initial.len],
    );
    case.also_output(last);
    let y = case.output("y", &[&rows[..], &[hidden]].concat());
    let saved = case
        .program
        .tensor("saved", &[directions, cell.saved(), steps, batch, hidden]);
    let op = RecurrentForward {
        cell: cell.clone(),
        shape,
        x_gates,
        weight_hh: PerDirection {
            first: weights.part(4, gates * hidden * hidden),
            stride: gates * hidden * hidden + 3,
        },
        bias_hh: with.then(|| PerDirection {
            first: biases.part(0, gates * hidden),
            stride: gates * hidden + 1,
        }),
        lengths: ragged.then(|| lengths(case, steps, batch)),
        initial: with.then(|| initial.part(state_start, state_len)),
        last: last.part(state_start, state_len),
        y,
        saved: with.then_some(saved),
    };
    (op, saved)
}

#[test]
fn every_cell_size_and_direction() {
    for cell in builtin() {
        for size in SIZES {
            for directions in [1, 2] {
                for (with, ragged) in [(true, false), (false, false), (true, true), (false, true)] {
                    let mut case = Case::new(11);
                    let (op, _) = forward(&mut case, &cell, size, directions, with, ragged);
                    case.program.push(op);
                    case.check(SINGLE);
                }
            }
        }
    }
}

#[test]
fn more_rows_than_one_dispatch_dimension_holds() {
    let cell = builtin().remove(3);
    let mut case = Case::new(12);
    let (op, _) = forward(&mut case, &cell, (2, 65_535 * 4 + 5, 1), 1, true, false);
    case.program.push(op);
    case.check(SINGLE);
}

#[test]
fn nan_stays_nan() {
    // WGSL lets max() and min() drop a NaN, so each gate is poisoned by itself.
    for cell in builtin() {
        for gate in 0..cell.gates() {
            let mut case = Case::new(14);
            let (op, _) = forward(&mut case, &cell, (2, 2, 3), 1, true, false);
            // Unit 0 of row 0 at step 0; every later h of the row depends on it, and none of the other row.
            case.poison(op.x_gates, 3 * gate);
            case.program.push(op);
            for device in crate::common::devices() {
                let outputs = case.run(&device);
                let (_, y) = outputs.iter().find(|(name, _)| name == "y").unwrap();
                let place = format!("gate {gate} of {} on {device}: {y}", cell.name());
                assert!(
                    y[[0, 0, 0, 0]].is_nan() && y[[1, 0, 0, 2]].is_nan(),
                    "{place}"
                );
                assert!(
                    y[[0, 0, 0, 1]].is_finite() && y[[1, 1, 0, 0]].is_finite(),
                    "{place}"
                );
            }
        }
    }
}
