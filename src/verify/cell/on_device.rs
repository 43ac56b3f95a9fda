//! A cell's functions on a device against its Rust half in f64.

use super::{CellFault, CellSources};
use crate::CellRef;
use crate::cell::Cell;
use crate::device::Device;
use crate::error::Result;
use crate::executable::Executable;
use crate::nn::{Input, Recurrent, State};
use crate::program::{
    GatesLayout, PerDirection, Program, RecurrentBackward, RecurrentForward, RecurrentShape,
    RecurrentWeights, Segment, Slice,
};
use crate::tensor::Tensor;
use crate::verify::compare;
use ndarray::{Array1, ArrayD, ArrayView1, Axis, s};
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
        let step = OneStep::new(cell_ref.clone(), through_inner);
        let on = |device: &Device| step.run(device).map_err(failed);
        let (got, expected) = (on(device)?, on(&Device::cpu_f64())?);
        let mut faults = vec![];
        for (output, expected) in step.outputs().iter().zip(&expected) {
            let got = &got[output.index];
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

/// A part of the results: one output of one function, `[B, H]`.
struct StepOutput {
    index: usize,
    /// `d_x[1]`
    what: String,
    function: &'static str,
}

impl StepOutput {
    fn fault(
        &self,
        device: &Device,
        sources: &CellSources,
        got: &ArrayD<f64>,
        expected: &ArrayD<f64>,
    ) -> CellFault {
        let error = |index: &usize| {
            let error = (got.as_slice().map_or(f64::NAN, |got| got[*index])
                - expected
                    .as_slice()
                    .map_or(f64::NAN, |expected| expected[*index]))
            .abs();
            if error.is_nan() { f64::INFINITY } else { error }
        };
        let index = (0..expected.len())
            .max_by(|a, b| error(a).total_cmp(&error(b)))
            .unwrap_or(0);
        let value = |values: &ArrayD<f64>| values.iter().nth(index).copied().unwrap_or(f64::NAN);
        let reason = format!(
            "on {device} {} gives {} = {:.6}, the Rust half {:.6}",
            self.function,
            self.what,
            value(got),
            value(expected)
        );
        sources.wgsl(&format!("fn {}(", self.function), reason)
    }
}

/// One step of one layer without recurrent weights but, where `through_inner`, those of the late
/// gates, which are the unit matrix: so every output is that of one unit's functions.
struct OneStep {
    cell: CellRef,
    through_inner: bool,
    shape: RecurrentShape,
    program: Program,
    inputs: Vec<(Slice, Vec<f64>)>,
    last: Slice,
    d_state: Slice,
    d_gates: Slice,
}

impl OneStep {
    fn new(cell: CellRef, through_inner: bool) -> Self {
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
        let inner_len = RecurrentForward::inner_len(&cell, &shape, false);
        let kept = program.tensor("saved", &[saved_len + inner_len]);
        let saved = kept.part(0, saved_len);
        let d_gates = GatesLayout::new(&cell, &shape, false).len;
        let d_gates = program.tensor("d_gates", &[d_gates]);
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
        Self {
            cell,
            through_inner,
            shape,
            program,
            inputs,
            last,
            d_state,
            d_gates,
        }
    }

    fn outputs(&self) -> Vec<StepOutput> {
        let cell = &self.cell;
        let outputs = |name: &'static str, count: usize, function: &'static str| {
            (0..count).map(move |index| (format!("{name}[{index}]"), function))
        };
        let gradients = if cell.shared_gradient() { 1 } else { 2 };
        // Without v the functions around it are checked already.
        let (forward, backward) = if self.through_inner {
            ("cell_inner", "cell_inner_backward")
        } else {
            ("cell_forward", "cell_backward")
        };
        let parts = outputs("state", cell.states(), forward)
            .chain(outputs("d_state", cell.states(), backward))
            .chain(outputs("d_diagonal", cell.diagonals(), backward))
            .chain(
                ["d_x", "d_r"]
                    .into_iter()
                    .take(gradients)
                    .flat_map(|name| outputs(name, cell.gates(), backward)),
            );
        let part = |(index, (what, function)): (usize, (String, &'static str))| StepOutput {
            index,
            what,
            function,
        };
        parts.enumerate().map(part).collect()
    }

    /// The outputs in the order of [`OneStep::parts`].
    fn run(&self, device: &Device) -> Result<Vec<ArrayD<f64>>> {
        let executable = Executable::new(device, self.program.clone(), &[])?;
        for (slice, values) in &self.inputs {
            let tensor = executable.tensor(slice.tensor);
            tensor.write(&Array1::from_vec(values.clone()))?;
        }
        executable.run()?;
        let read = |slice: Slice| -> Result<Array1<f64>> {
            let values = executable.tensor(slice.tensor).to_array::<f64>()?;
            Ok(values.iter().copied().collect())
        };
        let (last, d_state) = (read(self.last)?, read(self.d_state)?);
        let d_gates = read(self.d_gates)?;
        let cell = &self.cell;
        let plane = BATCH * HIDDEN;
        let states = self.shape.state_offset(cell.states());
        let own = |values: ArrayView1<'_, f64>| values.to_owned().into_dyn();
        let planes = |values: &Array1<f64>, count: usize| -> Vec<ArrayD<f64>> {
            let part = |index: usize| own(values.slice(s![index * plane..(index + 1) * plane]));
            (0..count).map(part).collect()
        };
        // `[B, N, H]` by N.
        let interleaved = |values: ArrayView1<'_, f64>, count: usize| -> Vec<ArrayD<f64>> {
            let values = values
                .to_shape((BATCH, count, HIDDEN))
                .expect("the sizes are those of the program");
            let part = |index: usize| values.index_axis(Axis(1), index).iter().copied().collect();
            (0..count)
                .map(|index| Array1::into_dyn(part(index)))
                .collect()
        };
        let mut outputs = planes(&last, cell.states());
        outputs.extend(planes(&d_state, cell.states()));
        outputs.extend(interleaved(d_state.slice(s![states..]), cell.diagonals()));
        let gates = BATCH * cell.gates() * HIDDEN;
        for first in (0..d_gates.len()).step_by(gates) {
            let part = d_gates.slice(s![first..first + gates]);
            outputs.extend(interleaved(part, cell.gates()));
        }
        Ok(outputs)
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
