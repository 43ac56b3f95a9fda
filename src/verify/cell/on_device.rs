//! A cell's functions on a device against its Rust half in f64.

use super::{CellFault, CellSources};
use crate::cell::Cell;
use crate::device::Device;
use crate::error::Result;
use crate::nn::{Input, Recurrent, RecurrentModel, State};
use crate::tensor::Tensor;
use crate::verify::compare;
use ndarray::{Array, Array2, ArrayD, Axis};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// H of the one step whose functions are compared.
const HIDDEN: usize = 54;
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
    let mut worst = 0.0_f64;
    // First without, then with what passes through v.
    let late_gates = cell.early_gates() < cell.gates();
    for through_inner in [false, true].into_iter().take(1 + usize::from(late_gates)) {
        let step = |device| one_step(cell, device, through_inner).map_err(failed);
        let mut faults = vec![];
        for (got, expected) in step(device)?.iter().zip(&step(&Device::cpu_f64())?) {
            match compare(&got.what, &got.values, &expected.values, STEP_TOLERANCE) {
                Ok(error) => worst = worst.max(error),
                Err(_) => faults.push(got.fault(device, sources, expected)),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
    }
    let stack = |device| stack(cell, device).map_err(failed);
    for ((name, got), (_, expected)) in stack(device)?.iter().zip(&stack(&Device::cpu_f64())?) {
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

/// One output of one function, `[H]`.
struct StepOutput {
    /// `d_x[1]`
    what: String,
    function: &'static str,
    values: ArrayD<f64>,
}

impl StepOutput {
    fn fault(&self, device: &Device, sources: &CellSources, expected: &Self) -> CellFault {
        let Self { what, function, .. } = self;
        // A NaN is the largest of all.
        let error = |(got, expected): &(&f64, &f64)| (*got - *expected).abs();
        let pairs = self.values.iter().zip(&expected.values);
        let worst = pairs.max_by(|a, b| error(a).total_cmp(&error(b)));
        let (got, expected) = worst.unwrap_or((&f64::NAN, &f64::NAN));
        let reason =
            format!("on {device} {function} gives {what} = {got:.6}, the Rust half {expected:.6}");
        sources.wgsl(&format!("fn {function}("), reason)
    }
}

/// One step of one row through a layer whose input weights are the unit matrix and which has no
/// recurrent weights but, where `through_inner`, those of the late gates, unit matrices too: so every
/// output is that of one unit's functions.
fn one_step<C: Cell>(cell: &C, device: &Device, through_inner: bool) -> Result<Vec<StepOutput>> {
    let width = cell.gates() * HIDDEN;
    let layer = Recurrent::with_cell(cell.clone(), width, HIDDEN).build(device, 3)?;
    let early = match through_inner {
        true => cell.early_gates() * HIDDEN,
        false => width,
    };
    let parameters = layer.parameters();
    let late = |(row, column)| f64::from(row >= early && row % HIDDEN == column);
    parameters.set("weight_ih_l0", &Array2::<f64>::eye(width))?;
    parameters.set(
        "weight_hh_l0",
        &Array2::from_shape_fn((width, HIDDEN), late),
    )?;
    parameters.set("bias_ih_l0", &Array::<f32, _>::zeros(width))?;
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for name in ["bias_hh_l0", "weight_diag_l0"] {
        if let Ok(shape) = parameters.shape(name) {
            let number = || rng.random_range(-1.5_f32..1.5);
            parameters.set(name, &ArrayD::from_shape_simple_fn(shape, number))?;
        }
    }
    // Without v the functions around it are checked already.
    let (forward, backward) = match through_inner {
        true => ("cell_inner", "cell_inner_backward"),
        false => ("cell_forward", "cell_backward"),
    };
    let mut outputs = vec![];
    for (name, values) in vjp(&layer, device, [1, 1], None)? {
        let (what, function) = match &name[..] {
            "state" => ("state", forward),
            "the gradient of state" => ("d_state", backward),
            "the gradient of x" => ("d_x", backward),
            "the gradient of bias_hh_l0" if !cell.shared_gradient() => ("d_r", backward),
            "the gradient of weight_diag_l0" => ("d_diagonal", backward),
            _ => continue,
        };
        let values = values.flatten();
        for (index, values) in values.axis_chunks_iter(Axis(0), HIDDEN).enumerate() {
            let what = format!("{what}[{index}]");
            let values = values.to_owned().into_dyn();
            outputs.push(StepOutput {
                what,
                function,
                values,
            });
        }
    }
    Ok(outputs)
}

/// Two layers, two directions, lengths and states, forward and backward.
fn stack<C: Cell>(cell: &C, device: &Device) -> Result<Vec<(String, ArrayD<f64>)>> {
    let config = Recurrent::with_cell(cell.clone(), 4, 7)
        .layers(2)
        .bidirectional(true);
    vjp(&config.build(device, 3)?, device, [5, 3], Some(&[3, 5, 0]))
}

/// What a stack gives of random numbers, and all gradients, by name.
fn vjp<C: Cell>(
    model: &RecurrentModel<C>,
    device: &Device,
    [steps, batch]: [usize; 2],
    lengths: Option<&[usize]>,
) -> Result<Vec<(String, ArrayD<f64>)>> {
    let states = model.config().cell().states();
    let options = &model.config().options;
    let directions = 1 + usize::from(options.bidirectional);
    let hidden = options.hidden_size;
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut random = |shape: &[usize]| -> Result<Tensor> {
        // Exact in f32, so that all devices start from the same numbers.
        let values = ArrayD::from_shape_simple_fn(shape, || rng.random_range(-1.0_f32..1.0));
        Tensor::from_array(device, &values)
    };
    let x = random(&[steps, batch, options.input_size])?;
    let d_y = random(&[steps, batch, directions * hidden])?;
    let mut state = || -> Result<State> {
        let part = |_| random(&[options.layers * directions, batch, hidden]);
        let parts = (0..states).map(part);
        Ok(State::from_parts(parts.collect::<Result<_>>()?))
    };
    let (initial, d_last) = (state()?, state()?);
    let input = match lengths {
        Some(lengths) => Input::with_lengths(&x, lengths),
        None => Input::from(&x),
    };
    let vjp = model.vjp(input, Some(&initial), &d_y, Some(&d_last))?;
    // All states, `[S, L·D, B, H]`.
    let states = |state: &State| -> Result<ArrayD<f64>> {
        let parts: Vec<ArrayD<f64>> = state
            .parts()
            .iter()
            .map(Tensor::to_array)
            .collect::<Result<_>>()?;
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        Ok(ndarray::stack(Axis(0), &views).expect("states have one shape"))
    };
    let mut results = vec![
        ("y".to_owned(), vjp.y.to_array()?),
        ("state".to_owned(), states(&vjp.state)?),
        ("the gradient of state".to_owned(), states(&vjp.d_state)?),
        ("the gradient of x".to_owned(), vjp.d_x.to_array()?),
    ];
    let weights = vjp.d_weights.to_arrays()?.into_iter();
    results.extend(weights.map(|(name, values)| (format!("the gradient of {name}"), values)));
    Ok(results)
}
