//! Weights in f16: layers against the CPU path with weights that the test rounds itself, which shows that nothing else is rounded; training.

use crate::common::{array, gpu, rng, rounded_to_f16, skipped, uniform};
use crate::runs::{Results, Run, SINGLE_THROUGH_TIME, check};
use bptt::cell::Cell;
use bptt::data::Batch;
use bptt::gpu::{GemmKernel, RecurrentChoice, RecurrentWalk};
use bptt::nn::{Gru, Lstm, Model, Recurrent, RecurrentModel, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::{Device, Precision};

/// A device that no other test works on.
fn half_gpu() -> Option<Device> {
    gpu()?;
    let device = Device::gpu().unwrap();
    device.set_precision(Precision::F16).unwrap();
    Some(device)
}

/// Rounds the matrices; biases and diagonal weights stay as they are.
fn round_weights<C: Cell>(layer: &RecurrentModel<C>) {
    let mut weights = layer.parameters().to_arrays::<f32>().unwrap();
    let is_matrix = |name: &str| name.starts_with("weight_") && !name.contains("diag");
    for (_, values) in weights.iter_mut().filter(|(name, _)| is_matrix(name)) {
        values.mapv_inplace(rounded_to_f16);
    }
    layer.parameters().load(&weights).unwrap();
}

fn rounded<C: Cell>(run: &Run<C>) -> Results {
    let device = Device::cpu_f64();
    let layer = run.layer(&device);
    round_weights(&layer);
    let arrays = run.arrays(&layer);
    let mut results = run.forward(&layer, &arrays, &device);
    results.extend(run.vjp(&layer, &arrays, &device));
    results
}

fn compare<C: Cell>(place: &str, device: &Device, config: Recurrent<C>, size: [usize; 3]) {
    let run = Run::new(config, size).ragged();
    let run = Run {
        train: Some((5, 1)),
        ..run
    };
    let got = run.on(device);
    check(place, &got, &rounded(&run), SINGLE_THROUGH_TIME);
    assert_ne!(got["y"], run.on(&Device::gpu().unwrap())["y"], "{place}");
}

#[test]
fn layers_forward_and_backward() {
    let Some(device) = half_gpu() else { return };
    let lstm = Lstm::new(4, 9).layers(2).bidirectional(true);
    compare("lstm", &device, lstm, [5, 3, 4]);
    compare("gru", &device, Gru::new(3, 17), [4, 2, 3]);
    let late = Gru::new(4, 5).reset_after(false).bidirectional(true);
    compare("gru, reset before", &device, late, [5, 3, 4]);
    let peepholes = Lstm::new(4, 6).peepholes(true);
    compare("lstm with peepholes", &device, peepholes, [5, 3, 4]);
}

#[test]
fn every_way_of_running_the_steps() {
    let Some(device) = half_gpu() else { return };
    let ways = [
        (RecurrentWalk::Device, false),
        (RecurrentWalk::Workgroup, false),
        (RecurrentWalk::Invocation, false),
        (RecurrentWalk::Device, true),
    ];
    for (walk, subgroups) in ways {
        let choice = RecurrentChoice::new(walk, 2, 4, subgroups).unwrap();
        // Not every device has subgroups.
        if device.set_recurrent_choice(Some(choice)).is_ok() {
            // All that is packed: both matrices, biases, mask.
            let config = Lstm::new(4, 7).proj_size(3).recurrent_dropout(0.4);
            compare(&format!("{choice:?}"), &device, config, [5, 3, 4]);
        }
    }
}

#[test]
fn the_precision_can_be_changed_at_any_time() {
    let Some(device) = half_gpu() else { return };
    let run = Run::new(Lstm::new(3, 17), [5, 7, 3]);
    let layer = run.layer(&device);
    let arrays = run.arrays(&layer);
    let y = || run.forward(&layer, &arrays, &device);
    let half = y();
    device.set_precision(Precision::F32).unwrap();
    let single = y();
    assert_ne!(half, single);
    let other = Device::gpu().unwrap();
    let fresh = run.forward(&run.layer(&other), &arrays, &other);
    assert_eq!(single, fresh);
    device.set_precision(Precision::F16).unwrap();
    assert_eq!(half, y());
}

fn random(seed: u64, shape: &[usize]) -> ndarray::ArrayD<f32> {
    array(shape, uniform(&mut rng(seed), shape.iter().product(), 1.0))
}

#[test]
fn training_learns_and_keeps_weights_in_f32() {
    let Some(device) = half_gpu() else { return };
    let build = |device: &Device| {
        let model = Sequential::new(3)
            .lstm(Lstm::hidden(17))
            .gru(Gru::hidden(9));
        model.last_step().linear(2).build(device, 4).unwrap()
    };
    let weights = |model: &Model| model.parameters().to_arrays::<f32>().unwrap();
    let first = weights(&build(&Device::cpu()));
    let mut trainer = Trainer::new(build(&device), Adam::new(1e-2))
        .build()
        .unwrap();
    assert_eq!(first, weights(trainer.model()));
    let batch = Batch::new(random(1, &[6, 8, 3]), random(2, &[8, 2]));
    let mut losses = vec![];
    for _ in 0..60 {
        trainer.step(&batch).unwrap();
        losses.push(trainer.take_loss().unwrap());
    }
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    assert!(losses[59] < 0.5 * losses[0], "{losses:?}");
    // An optimizer's steps are smaller than what f16 can tell apart.
    let trained = weights(trainer.model());
    let exact = |x: &f32| rounded_to_f16(*x) == *x;
    let share = trained["0.weight_hh_l0"]
        .iter()
        .filter(|x| exact(x))
        .count();
    assert!(share < trained["0.weight_hh_l0"].len() / 4, "{share}");
}

#[test]
fn an_input_product_by_cooperative_matrices() {
    if gpu().is_none() {
        return;
    }
    let device = Device::gpu_f16().unwrap();
    device
        .set_gemm_kernel(Some(GemmKernel::Cooperative))
        .unwrap();
    // 64 rows of 4·12 columns, x of numbers that f16 has.
    let run = Run::new(Lstm::new(9, 12), [8, 8, 9]);
    let layer = run.layer(&device);
    let mut arrays = run.arrays(&layer);
    arrays
        .x
        .mapv_inplace(|x| f64::from(rounded_to_f16(x as f32)));
    let model = Sequential::new(9)
        .lstm(Lstm::hidden(12))
        .build(&device, 0)
        .unwrap();
    let plan = model.plan(&[8, 8, 9]).unwrap().to_string();
    if !plan.contains("gemm_cooperative") {
        skipped(&format!(
            "{device} has no cooperative matrices of f16 with sums in f32"
        ));
        return;
    }
    let reference = Device::cpu_f64();
    let rounded = run.layer(&reference);
    round_weights(&rounded);
    let mut got = run.forward(&layer, &arrays, &device);
    got.extend(run.vjp(&layer, &arrays, &device));
    let mut expected = run.forward(&rounded, &arrays, &reference);
    expected.extend(run.vjp(&rounded, &arrays, &reference));
    check("cooperative", &got, &expected, SINGLE_THROUGH_TIME);
}
