//! What checks an operation of a user's own.

use super::{Mismatch, SINGLE, compare};
use crate::device::Device;
use crate::error::Result;
use crate::executable::Executable;
use crate::operation::OperationRef;
use crate::program::{Custom, Program, Slice};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Central differences in f64 with this step are good to about 1e-9 of a smooth function.
const STEP: f64 = 1e-5;
const DERIVATIVE_TOLERANCE: f64 = 1e-6;

type Arrays = Vec<ArrayD<f64>>;
type Checked<T> = std::result::Result<T, Mismatch>;

/// Checks an [`Operation`](crate::Operation) of your own at random inputs of some shapes: its
/// gradient, where it has one, against central differences of its CPU function in f64, and on each
/// of `devices` both functions against the CPU's in f64. Returns the worst relative error.
///
/// # Errors
/// [`Mismatch`]: what differs; or what does not run, with the reason.
pub fn check_operation(
    operation: &OperationRef,
    shapes: &[&[usize]],
    devices: &[Device],
) -> Checked<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut random = |shapes: &[&[usize]]| -> Arrays {
        // Exact in f32, so that all devices start from the same numbers.
        let mut number = || f64::from(rng.random_range(-1.5_f32..1.5));
        let array = |shape: &&[usize]| ArrayD::from_shape_simple_fn(*shape, &mut number);
        shapes.iter().map(array).collect()
    };
    let inputs = random(shapes);
    let outputs = run(operation, &Device::cpu_f64(), &inputs)?;
    let mut worst = on_devices(operation, devices, &inputs, &outputs)?;
    let Some(gradient) = operation.gradient() else {
        return Ok(worst);
    };
    let d_outputs = random(&outputs.iter().map(ArrayD::shape).collect::<Vec<_>>());
    let given = [&inputs[..], &d_outputs].concat();
    let gradients = run(&gradient, &Device::cpu_f64(), &given)?;
    worst = worst.max(on_devices(&gradient, devices, &given, &gradients)?);
    if gradients.len() != inputs.len() {
        let reason = format!("{} outputs, not one for each input", gradients.len());
        return Err(mismatch(&gradient, reason));
    }
    for (index, got) in gradients.iter().enumerate() {
        let difference = |element: usize| -> Checked<f64> {
            let value = |by: f64| -> Checked<f64> {
                let mut moved = inputs.clone();
                let number = moved[index].iter_mut().nth(element);
                *number.expect("it is one of the array's") += by;
                let outputs = run(operation, &Device::cpu_f64(), &moved)?;
                let products = outputs.iter().zip(&d_outputs);
                Ok(products.map(|(y, d)| (y * d).sum()).sum())
            };
            Ok((value(STEP)? - value(-STEP)?) / (2.0 * STEP))
        };
        let expected = (0..inputs[index].len()).map(difference);
        let expected =
            ArrayD::from_shape_vec(inputs[index].shape(), expected.collect::<Checked<_>>()?)
                .expect("there is one for each of the input's");
        let what =
            format!("{gradient:?}: the gradient of input {index} against finite differences");
        worst = worst.max(compare(&what, got, &expected, DERIVATIVE_TOLERANCE)?);
    }
    Ok(worst)
}

fn mismatch(operation: &OperationRef, reason: impl ToString) -> Mismatch {
    Mismatch {
        name: operation.name().to_owned(),
        reason: reason.to_string(),
    }
}

fn on_devices(
    operation: &OperationRef,
    devices: &[Device],
    inputs: &Arrays,
    expected: &Arrays,
) -> Checked<f64> {
    let mut worst = 0.0_f64;
    for device in devices {
        let got = run(operation, device, inputs)?;
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            let what = format!("{operation:?}: output {index} on {device} against the CPU in f64");
            worst = worst.max(compare(&what, got, expected, SINGLE)?);
        }
    }
    Ok(worst)
}

fn run(operation: &OperationRef, device: &Device, inputs: &Arrays) -> Checked<Arrays> {
    let run = || -> Result<Arrays> {
        let shapes: Vec<_> = inputs.iter().map(ArrayD::shape).collect();
        let outputs = operation.shapes(&shapes)?;
        let mut program = Program::new();
        let mut tensor = |shape: &[usize]| (program.tensor("operand", shape), shape.to_vec());
        let given: Vec<_> = shapes.iter().map(|shape| tensor(shape)).collect();
        let written: Vec<_> = outputs.iter().map(|shape| tensor(shape)).collect();
        program.push(Custom {
            operation: operation.clone(),
            inputs: given.clone(),
            outputs: written.clone(),
        });
        let executable = Executable::new(device, program, &[])?;
        for ((slice, _), values) in given.iter().zip(inputs) {
            executable.tensor(slice.tensor).write(values)?;
        }
        for (slice, shape) in &written {
            // What is not written shows.
            let poison = ArrayD::<f64>::from_elem(&shape[..], f64::NAN);
            executable.tensor(slice.tensor).write(&poison)?;
        }
        executable.run()?;
        let read = |(slice, _): &(Slice, _)| executable.tensor(slice.tensor).to_array::<f64>();
        written.iter().map(read).collect()
    };
    run().map_err(|error| mismatch(operation, format!("on {device}: {error}")))
}
