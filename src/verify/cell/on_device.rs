//! A cell's functions on a device against its Rust half in f64.

use super::{CellFault, CellSources};
use crate::CellRef;
use crate::cell::Cell;
use crate::device::Device;
use crate::error::Result;
use crate::executable::Executable;
use crate::nn::{Input, Recurrent, State};
use crate::program::{
    GatesLayout, Matrix, PerDirection, Program, RecurrentBackward, RecurrentForward,
    RecurrentShape, RecurrentWeights, Segment, Slice,
};
use crate::tensor::Tensor;
use crate::verify::compare;
use ndarray::{Array2, ArrayD, aview1};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// B and H of the one step whose functions are compared.
const BATCH: usize = 6;
const HIDDEN: usize = 9;
/// Tolerances of one step, and of a stack over some.
const STEP_TOLERANCE: f64 = 5e-5;
const STACK_TOLERANCE: f64 = 2e-4;

/// The worst relative difference, or what is wrong.
pub(super) fn check<C: Cell>(
    cell: &C,
    device: &Device,
    sources: &CellSources,
) -> std::result::Result<f64, Vec<CellFault>> {
    let failed = |error| vec![sources.device(device, &error)];
    let cell_ref = CellRef::new(cell.clone());
    let mut worst = 0.0_f64;
    // First without, then with what passes through v.
    for through_inner in [false, true] {
        if through_inner && !cell_ref.has_late_gates() {
            continue;
        }
        let step = OneStep::new(&cell_ref, through_inner);
        let on = |device: &Device| step.run(device).map_err(failed);
        let (got, expected) = (on(device)?, on(&Device::cpu_f64())?);
        let mut faults = vec![];
        for ((output, got), expected) in step.outputs.iter().zip(&got).zip(&expected) {
            match compare(&output.what, got, expected, STEP_TOLERANCE) {
                Ok(error) => worst = worst.max(error),
                Err(_) => faults.push(output.fault(device, sources, got, expected)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
    }
    let stack = |device: &Device| stack(cell, device);
    let (got, expected) = (
        stack(device).map_err(failed)?,
        stack(&Device::cpu_f64()).map_err(failed)?,
    );
    for ((name, got), (_, expected)) in got.iter().zip(&expected) {
        match compare(name, got, expected, STACK_TOLERANCE) {
            Ok(error) => worst = worst.max(error),
            Err(mismatch) => {
                let reason = format!("two layers and directions on {device}: {mismatch}");
                return Err(vec![sources.wgsl("fn cell_backward", reason)]);
            }
        }
    }
    Ok(worst)
}

/// One output of one function.
struct StepOutput {
    /// `d_x[1]`
    what: String,
    function: &'static str,
    /// `[B, H]`
    place: Matrix,
}

impl StepOutput {
    fn fault(
        &self,
        device: &Device,
        sources: &CellSources,
        got: &ArrayD<f64>,
        expected: &ArrayD<f64>,
    ) -> CellFault {
        // A NaN is the largest of all.
        let error = |(got, expected): &(&f64, &f64)| (*got - *expected).abs();
        let worst = got
            .iter()
            .zip(expected)
            .max_by(|a, b| error(a).total_cmp(&error(b)));
        let (got, expected) = worst.unwrap_or((&f64::NAN, &f64::NAN));
        let Self { what, function, .. } = self;
        let reason =
            format!("on {device} {function} gives {what} = {got:.6}, the Rust half {expected:.6}");
        sources.wgsl(&format!("fn {function}("), reason)
    }
}

/// One step of one layer without recurrent weights but, where `through_inner`, those of the late
/// gates, which are the unit matrix: so every output is that of one unit's functions.
struct OneStep {
    program: Program,
    inputs: Vec<(Slice, Vec<f64>)>,
    outputs: Vec<StepOutput>,
}

impl OneStep {
    fn new(cell: &CellRef, through_inner: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut random = |len: usize| -> Vec<f64> {
            // Exact in f32, so that all devices start from the same numbers.
            let mut number = || f64::from(rng.random_range(-1.5_f32..1.5));
            (0..len).map(|_| number()).collect()
        };
        let shape = RecurrentShape {
            steps: 1,
            batch: BATCH,
            hidden: HIDDEN,
            output: HIDDEN,
            directions: 1,
        };
        let mut program = Program::new();
        let mut inputs = vec![];
        let mut given = |program: &mut Program, name: &str, values: Vec<f64>| {
            let slice = program.tensor(name, &[values.len()]);
            inputs.push((slice, values));
            slice
        };
        let gate_width = cell.gates() * HIDDEN;
        let states = shape.state_offset(cell.states());
        let mut weights = vec![0.0; gate_width * HIDDEN];
        if through_inner {
            for row in cell.early_gates() * HIDDEN..gate_width {
                weights[row * HIDDEN + row % HIDDEN] = 1.0;
            }
        }
        let one = |first: Slice| PerDirection { first, stride: 0 };
        let weights = RecurrentWeights {
            weight_hh: one(given(&mut program, "weight_hh", weights)),
            bias_hh: Some(one(given(&mut program, "bias_hh", random(gate_width)))),
            weight_hr: None,
            weight_diag: (cell.diagonals() > 0).then(|| {
                let values = random(cell.diagonals() * HIDDEN);
                one(given(&mut program, "weight_diag", values))
            }),
        };
        let x_gates = given(&mut program, "x_gates", random(BATCH * gate_width));
        let initial = given(&mut program, "initial", random(states));
        let d_y = given(&mut program, "d_y", random(BATCH * HIDDEN));
        let mut d_last = random(states);
        d_last.resize(states + BATCH * cell.diagonals() * HIDDEN, 0.0);
        let d_state = given(&mut program, "d_state", d_last);
        let last = program.tensor("last", &[states]);
        let y = program.tensor("y", &[BATCH * HIDDEN]);
        let saved_len = BATCH * HIDDEN * cell.saved();
        let inner_len = RecurrentForward::inner_len(cell, &shape, false);
        let kept = program.tensor("saved", &[saved_len + inner_len]);
        let saved = kept.part(0, saved_len);
        let layout = GatesLayout::new(cell, &shape, false);
        let d_gates = program.tensor("d_gates", &[layout.len]);
        program.push(RecurrentForward {
            products: vec![],
            cell: cell.clone(),
            shape,
            segment: Segment::whole(&shape),
            x_gates,
            weights,
            mask: None,
            zoneout: None,
            lengths: None,
            initial: Some(initial),
            last,
            y,
            inner: (inner_len > 0).then(|| kept.part(saved_len, inner_len)),
            saved: Some(saved),
        });
        program.push(RecurrentBackward {
            cell: cell.clone(),
            shape,
            segment: Segment::whole(&shape),
            weights,
            mask: None,
            zoneout: None,
            saved,
            d_y,
            lengths: None,
            d_state,
            has_d_last: true,
            wants_initial: true,
            d_gates,
        });

        let mut outputs = vec![];
        let mut add = |name: &str, function, count: usize, place: &dyn Fn(usize) -> Matrix| {
            outputs.extend((0..count).map(|index| StepOutput {
                what: format!("{name}[{index}]"),
                function,
                place: place(index),
            }));
        };
        let plane = |of: Slice, index| {
            of.part(index * BATCH * HIDDEN, BATCH * HIDDEN)
                .matrix(BATCH, HIDDEN)
        };
        // Of `[B, N, H]` from some element on.
        let column = |of: Slice, first, count: usize, index| {
            let of = of
                .part(first, BATCH * count * HIDDEN)
                .matrix(BATCH, count * HIDDEN);
            of.columns(index * HIDDEN, HIDDEN)
        };
        // Without v the functions around it are checked already.
        let (forward, backward) = if through_inner {
            ("cell_inner", "cell_inner_backward")
        } else {
            ("cell_forward", "cell_backward")
        };
        let (gates, diagonals) = (cell.gates(), cell.diagonals());
        add("state", forward, cell.states(), &|state| plane(last, state));
        add("d_state", backward, cell.states(), &|state| {
            plane(d_state, state)
        });
        add("d_diagonal", backward, diagonals, &|slot| {
            column(d_state, states, diagonals, slot)
        });
        add("d_x", backward, gates, &|gate| {
            column(d_gates, layout.d_x, gates, gate)
        });
        if !cell.shared_gradient() {
            add("d_r", backward, gates, &|gate| {
                column(d_gates, layout.d_r, gates, gate)
            });
        }
        Self {
            program,
            inputs,
            outputs,
        }
    }

    /// The outputs, each `[B, H]`.
    fn run(&self, device: &Device) -> Result<Vec<ArrayD<f64>>> {
        let executable = Executable::new(device, self.program.clone(), &[])?;
        for (slice, values) in &self.inputs {
            let tensor = executable.tensor(slice.tensor);
            tensor.write(&aview1(values))?;
        }
        executable.run()?;
        let read = |StepOutput { place, .. }: &StepOutput| -> Result<ArrayD<f64>> {
            let values = executable.tensor(place.tensor).to_array::<f64>()?;
            let value = |(row, column)| values[[place.offset + row * place.row_stride + column]];
            Ok(Array2::from_shape_fn((BATCH, HIDDEN), value).into_dyn())
        };
        self.outputs.iter().map(read).collect()
    }
}

/// Two layers, two directions, lengths and states, forward and backward.
fn stack<C: Cell>(cell: &C, device: &Device) -> Result<Vec<(String, ArrayD<f64>)>> {
    let (steps, batch, input, hidden) = (5, 3, 4, 7);
    let config = Recurrent::with_cell(cell.clone(), input, hidden)
        .layers(2)
        .bidirectional(true);
    let layer = config.build(device, 3)?;
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut random = |shape: &[usize]| -> Result<Tensor> {
        let values = ArrayD::from_shape_simple_fn(shape, || rng.random_range(-1.0_f32..1.0));
        Tensor::from_array(device, &values)
    };
    let x = random(&[steps, batch, input])?;
    let d_y = random(&[steps, batch, 2 * hidden])?;
    let mut state = || -> Result<State> {
        let part = |_| random(&[4, batch, hidden]);
        let parts = (0..cell.states()).map(part).collect::<Result<_>>()?;
        Ok(State::from_parts(parts))
    };
    let (initial, d_last) = (state()?, state()?);
    let input = Input::with_lengths(&x, &[3, 5, 0]);
    let vjp = layer.vjp(input, Some(&initial), &d_y, Some(&d_last))?;
    let mut results = vec![
        ("y".to_owned(), vjp.y.to_array()?),
        ("the gradient of x".to_owned(), vjp.d_x.to_array()?),
    ];
    for (name, state) in [
        ("state", &vjp.state),
        ("the gradient of state", &vjp.d_state),
    ] {
        for (index, part) in state.parts().iter().enumerate() {
            results.push((format!("{name} {index}"), part.to_array()?));
        }
    }
    let weights = vjp.d_weights.to_arrays()?.into_iter();
    results.extend(weights.map(|(name, values)| (format!("the gradient of {name}"), values)));
    Ok(results)
}
