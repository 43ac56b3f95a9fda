use crate::common::Case;
use bptt::CellRef;
use bptt::program::{
    Map, PerDirection, RecurrentForward, RecurrentShape, RecurrentWeights, Segment, Slice, Zoneout,
};
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

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Zone {
    Off,
    Mean,
    Random,
}

/// What a case has beside the weights.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub directions: usize,
    /// Bias, initial states, saved values.
    pub with: bool,
    pub ragged: bool,
    /// P is then about half of H.
    pub projected: bool,
    pub masked: bool,
    pub zone: Zone,
    /// Whether the steps are some of a longer sequence.
    pub part: bool,
}

impl Options {
    pub const PLAIN: Self = Self {
        directions: 1,
        with: true,
        ragged: false,
        projected: false,
        masked: false,
        zone: Zone::Off,
        part: false,
    };
}

/// With and without, both directions, ragged or not.
pub fn basic() -> Vec<Options> {
    let mut all = vec![];
    for directions in [1, 2] {
        for (with, ragged) in [(true, false), (false, false), (true, true), (false, true)] {
            all.push(Options {
                directions,
                with,
                ragged,
                ..Options::PLAIN
            });
        }
    }
    all
}

/// Projection, mask and zoneout, alone and together, two directions.
pub fn further(cell: &CellRef) -> Vec<Options> {
    let mut all = vec![];
    // Cells with late gates, and those that read h₋, are not projected.
    let can_project = cell.states() > 1;
    for (projected, masked, zone) in [
        (true, false, Zone::Off),
        (false, true, Zone::Off),
        (false, false, Zone::Mean),
        (false, false, Zone::Random),
        (true, true, Zone::Random),
        (false, true, Zone::Random),
        (true, false, Zone::Mean),
    ] {
        if projected && !can_project {
            continue;
        }
        for (ragged, part) in [(false, false), (true, false), (true, true)] {
            all.push(Options {
                directions: 2,
                ragged,
                part,
                projected,
                masked,
                zone,
                ..Options::PLAIN
            });
        }
    }
    all
}

/// The forward pass of a cell with everything given, all slices inside larger tensors.
pub fn forward(
    case: &mut Case,
    cell: &CellRef,
    (steps, batch, hidden): (usize, usize, usize),
    options: Options,
) -> (RecurrentForward, Slice) {
    let directions = options.directions;
    let output = if options.projected {
        hidden.div_ceil(2)
    } else {
        hidden
    };
    let shape = RecurrentShape {
        steps,
        batch,
        hidden,
        output,
        directions,
    };
    let segment = match options.part {
        true => Segment {
            first: 2,
            total: steps + 5,
        },
        false => Segment::whole(&shape),
    };
    let gates = cell.gates();
    let states = shape.state_offset(cell.states());
    let rows = [steps, batch, directions];
    let bound = (hidden as f32).powf(-0.5);
    let x_gates = case.random("x_gates", &[&rows[..], &[gates * hidden]].concat(), 1.0);
    let mut weight = |name: &str, len: usize, bound: f32| {
        let all = case.random(name, &[4 + directions * (len + 3)], bound);
        PerDirection {
            first: all.part(4, len),
            stride: len + 3,
        }
    };
    let weights = RecurrentWeights {
        weight_hh: weight("weight_hh", gates * hidden * output, 1.5 * bound),
        bias_hh: options.with.then(|| weight("bias_hh", gates * hidden, 1.0)),
        weight_hr: options
            .projected
            .then(|| weight("weight_hr", output * hidden, 1.5 * bound)),
        weight_diag: (cell.diagonals() > 0)
            .then(|| weight("weight_diag", cell.diagonals() * hidden, 1.0)),
    };
    let mask = options
        .masked
        .then(|| case.random("mask", &[directions, batch, gates, output], 2.0));
    let values: Vec<u32> = (0..batch)
        .map(|row| ((5 * row + 2) % (segment.total + 1)) as u32)
        .collect();
    // Seed and step, then lengths of every kind: 0, T and between, in no order.
    let rng = [0x4_0011, 0xffff_0000, 3, 0];
    let numbers = case.wholes(
        "seed, step, lengths",
        &[4 + batch],
        [&rng[..], &values].concat(),
    );
    let initial = case.random("initial", &[states + 5], 1.0);
    let last = case.given("last", &[states + 5], vec![0.0; states + 5]);
    case.also_output(last);
    let y = case.output("y", &[&rows[..], &[output]].concat());
    let saved_len = shape.rows() * hidden * cell.saved();
    let inner_len = RecurrentForward::inner_len(cell, &shape, options.projected);
    let kept = case.program.tensor("saved", &[saved_len + inner_len]);
    let saved = kept.part(0, saved_len);
    let op = RecurrentForward {
        cell: cell.clone(),
        shape,
        segment,
        products: vec![],
        x_gates,
        weights,
        mask,
        zoneout: (options.zone != Zone::Off).then(|| Zoneout {
            rates: [0.3, 0.6],
            random: (options.zone == Zone::Random).then(|| (numbers.part(0, 4), 5)),
        }),
        lengths: options.ragged.then(|| numbers.part(4, batch)),
        initial: options.with.then(|| initial.part(3, states)),
        last: last.part(2, states),
        y,
        inner: (inner_len > 0).then(|| kept.part(saved_len, inner_len)),
        saved: options.with.then_some(saved),
    };
    (op, saved)
}

#[test]
fn every_cell_size_and_direction() {
    for cell in CellRef::builtin() {
        for size in SIZES {
            for options in basic() {
                let mut case = Case::new(11);
                let (op, _) = forward(&mut case, &cell, size, options);
                case.program.push(op);
                case.check(SINGLE);
            }
        }
    }
}

#[test]
fn projection_mask_and_zoneout() {
    for cell in CellRef::builtin() {
        for size in [(4, 2, 5), (1, 3, 7), (3, 7, 65)] {
            for options in further(&cell) {
                let mut case = Case::new(15);
                let (op, _) = forward(&mut case, &cell, size, options);
                case.program.push(op);
                case.check(SINGLE);
            }
        }
    }
}

#[test]
fn weights_and_masks_that_change_within_a_run() {
    let options = Options {
        masked: true,
        ..Options::PLAIN
    };
    // What a kernel takes packed is packed once more where it has changed.
    for changed in 0..3 {
        let mut case = Case::new(16);
        let (op, _) = forward(&mut case, &CellRef::builtin()[0], (3, 2, 5), options);
        let targets = [op.weights.weight_hh.first, op.mask.unwrap()];
        case.program.push(op.clone());
        for target in targets.into_iter().skip(changed) {
            case.program.push(Map::fill(target, 0.25));
        }
        case.program.push(op);
        case.check(SINGLE);
    }
}

#[test]
fn more_rows_than_one_dispatch_dimension_holds() {
    for cell in [3, 7] {
        let cell = CellRef::builtin().remove(cell);
        let mut case = Case::new(12);
        let size = (2, 65_535 * 4 + 5, 1);
        let (op, _) = forward(&mut case, &cell, size, Options::PLAIN);
        case.program.push(op);
        case.check(SINGLE);
    }
}

#[test]
fn nan_stays_nan() {
    // WGSL lets max() and min() drop a NaN, so each gate is poisoned by itself.
    for cell in CellRef::builtin() {
        // The forget gate of the cell whose f is 1 − i has no effect.
        let coupled = cell.wgsl_constants().contains("INPUT_FORGET: bool = true");
        for gate in (0..cell.gates()).filter(|gate| !(coupled && *gate == 1)) {
            let mut case = Case::new(14);
            let (op, _) = forward(&mut case, &cell, (2, 2, 3), Options::PLAIN);
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
                // What a late gate's product takes of one unit reaches all.
                let spreads = cell.has_late_gates() && gate == 0;
                assert!(
                    (spreads || y[[0, 0, 0, 1]].is_finite()) && y[[1, 1, 0, 0]].is_finite(),
                    "{place}"
                );
            }
        }
    }
}

#[test]
fn nan_in_a_weight_reaches_the_first_step_from_no_state() {
    for cell in CellRef::builtin() {
        for directions in [1, 2] {
            let mut case = Case::new(15);
            let options = Options {
                directions,
                with: false,
                ..Options::PLAIN
            };
            let (op, _) = forward(&mut case, &cell, (2, 3, 5), options);
            // The last gate's row of the last unit.
            let weight = op.weights.weight_hh.of(directions - 1);
            case.poison(weight, cell.gates() * 5 * 5 - 1);
            case.program.push(op);
            for device in crate::common::every_device() {
                let outputs = case.run(&device);
                let (_, y) = outputs.iter().find(|(name, _)| name == "y").unwrap();
                let first = if directions == 2 { 1 } else { 0 };
                for row in 0..3 {
                    let h = y[[first, row, directions - 1, 4]];
                    let place = format!("{} on {device}: {y}", cell.name());
                    assert!(h.is_nan(), "{place}");
                }
            }
        }
    }
}
