//! Work that a device takes in pieces only: bindings of 1 MiB.

use crate::common::gpu;
use crate::runs::check;
use crate::training::random;
use bptt::data::{Batch, Sequence, Sequences};
use bptt::nn::{Lstm, Sequential};
use bptt::train::{Rmse, Sgd, Trainer};
use bptt::{Device, Tensor};
use ndarray::{Array3, Ix3};

const T: usize = 256;
const B: usize = 16;

/// The GPU under test with bindings of this many bytes.
fn with_bindings(gpu: &Device, bytes: u64) -> Device {
    let instance =
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let name = &gpu.adapter().unwrap().name;
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let mut adapters = adapters.into_iter();
    let adapter = adapters.find(|adapter| adapter.get_info().name == *name);
    let required_limits = wgpu::Limits {
        max_storage_buffer_binding_size: bytes,
        ..wgpu::Limits::default()
    };
    let descriptor = wgpu::DeviceDescriptor {
        required_limits,
        ..Default::default()
    };
    let device = adapter.unwrap().request_device(&descriptor);
    let (device, queue) = pollster::block_on(device).unwrap();
    Device::from_wgpu(device, queue)
}

fn sequences(rows: usize) -> [Array3<f32>; 2] {
    [3, 1].map(|features| {
        let values = random(features as u64, &[T, rows, features]);
        values.into_dimensionality::<Ix3>().unwrap()
    })
}

fn trainer(device: &Device, budget: Option<usize>) -> Trainer {
    let lstm = Lstm::hidden(32).bidirectional(true);
    let model = Sequential::new(3).lstm(lstm).linear(1);
    let trainer = Trainer::new(model.build(device, 3).unwrap(), Sgd::new(0.1));
    trainer.memory_budget(budget).build().unwrap()
}

/// Gate values are 4 MiB, what the backward pass needs of the cell 5 MiB, y 1 MiB.
#[test]
fn what_trains_can_be_evaluated_and_used() {
    let Some(gpu) = gpu() else { return };
    let small = with_bindings(&gpu, 1 << 20);
    let [x, target] = sequences(B);
    let batch = Batch::new(x.clone(), target.clone());
    let data = Sequences::many_to_many(x.clone(), target).unwrap();
    let mut results = vec![];
    for (device, budget) in [
        (&Device::cpu(), None),
        (&small, None),
        (&small, Some(6 << 20)),
    ] {
        let mut trainer = trainer(device, budget);
        trainer.step(&batch).unwrap();
        let fit = trainer.fit(&data).batch_size(B).validation(&data);
        let validation = fit.metric(Rmse).run().unwrap().epochs[0].validation;
        let y = trainer.model().predict(&x).unwrap().mapv(f64::from);
        results.push((trainer.gradients().unwrap(), validation.unwrap(), y));
    }
    let (gradients, validation, y) = &results[0];
    for (own_gradients, own_validation, own_y) in &results[1..] {
        check("in pieces", own_gradients, gradients, 1e-4);
        assert!((own_validation / validation - 1.0).abs() < 1e-4);
        bptt::verify::compare("y", own_y, y, 1e-4).unwrap();
    }
}

#[test]
fn a_stack_by_itself_is_cut_where_a_device_asks_for_it() {
    let Some(gpu) = gpu() else { return };
    let small = with_bindings(&gpu, 1 << 20);
    let [x, _] = sequences(B);
    let y = |device: &Device| {
        let lstm = Lstm::new(3, 32).build(device, 1).unwrap();
        let x = Tensor::from_array(device, &x).unwrap();
        let (y, last) = lstm.forward(&x, None).unwrap();
        let d_x = lstm.vjp(&x, Some(&last), &y, None).unwrap().d_x;
        [y, d_x, last.h().clone()].map(|of| of.to_array::<f64>().unwrap())
    };
    for (got, expected) in y(&small).iter().zip(y(&Device::cpu())) {
        bptt::verify::compare("in pieces", got, &expected, 1e-4).unwrap();
    }
}

#[test]
fn a_large_input_is_predicted_in_batches() {
    let devices = gpu().map(|gpu| with_bindings(&gpu, 1 << 20));
    let [x, _] = sequences(40);
    for device in devices.into_iter().chain([Device::cpu()]) {
        let model = Sequential::new(3).lstm(Lstm::hidden(32)).linear(1);
        let model = model.build(&device, 1).unwrap();
        // Its y alone would be 1.25 MiB.
        let all = model.predict(&x).unwrap();
        let lengths: Vec<usize> = (0..40).map(|row| row * 6).collect();
        let ragged = model.predict_ragged(&x, &lengths).unwrap();
        let inputs = [Sequence::new(x.clone())];
        let cut = model.predict_in_batches::<f32>(&inputs, 16).unwrap();
        assert_eq!((all.shape(), &cut), (&[T, 40, 1][..], &all), "{device}");
        let inputs = inputs.map(|input| input.with_lengths(lengths.clone()));
        let cut = model.predict_in_batches::<f32>(&inputs, 9).unwrap();
        assert_eq!(cut, ragged, "{device}");
        let error = model.predict_in_batches::<f32>(&inputs, 0).unwrap_err();
        assert!(error.to_string().starts_with("batch_size: 0"), "{error}");
    }
}

#[test]
fn what_is_too_large_is_called_by_what_was_given() {
    let Some(gpu) = gpu() else { return };
    let small = with_bindings(&gpu, 1 << 16);
    let [x, target] = sequences(B);
    let batch = Batch::new(x.clone(), target.clone());
    let data = Sequences::many_to_many(x.clone(), target).unwrap();
    let mut trainer = trainer(&small, None);
    let tensor = Tensor::from_array(&small, &x).unwrap();
    for (error, inputs) in [
        (
            trainer.step(&batch).unwrap_err(),
            "x [256, 16, 3], target [256, 16, 1]",
        ),
        (
            trainer.evaluate(&data, B).unwrap_err(),
            "x [256, 16, 3], target [256, 16, 1]",
        ),
        (
            trainer.model().forward(&tensor).unwrap_err(),
            "x [256, 16, 3]",
        ),
        (
            trainer.model().plan(&[256, 16, 3]).unwrap_err(),
            "x [256, 16, 3]",
        ),
    ] {
        let expected = format!("{inputs} (fewer rows or steps at once need less): needs ");
        let error = error.to_string();
        assert!(error.starts_with(&expected), "{error}");
        let limit = "the device's max_storage_buffer_binding_size is 65536";
        assert!(error.ends_with(limit), "{error}");
    }
    // As many steps of one row still are.
    let one = x.slice(ndarray::s![.., ..1, ..]).to_owned();
    trainer.model().predict(&one).unwrap();
}

#[test]
fn a_budget_far_too_small_is_refused_at_once() {
    let model = Sequential::new(1).lstm(Lstm::hidden(4).layers(2)).linear(1);
    let model = model.build(&Device::cpu(), 1).unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.1)).memory_budget(1000);
    let zeros = || Array3::<f32>::zeros((1_000_000, 1, 1));
    let batch = Batch::new(zeros(), zeros());
    let start = std::time::Instant::now();
    let error = trainer.build().unwrap().step_memory(&batch).unwrap_err();
    assert!(
        error.to_string().starts_with("memory_budget: 1000 bytes"),
        "{error}"
    );
    let took = start.elapsed().as_secs_f64();
    assert!(took < 5.0, "{took} s");
}
