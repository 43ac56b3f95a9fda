//! Training: devices agree, runs repeat to the bit, one submit a step, and it learns.

use crate::common::{array, devices, gpu, rng, uniform};
use bptt::data::{Batch, Dataset, Sequences};
use bptt::nn::{Gru, Lstm, Model, Rnn, Sequential};
use bptt::train::{Adam, AdamW, Optimizer, Sgd, Trainer};
use bptt::verify::compare;
use bptt::{Device, Tensor};
use ndarray::Ix3;

pub fn random(seed: u64, shape: &[usize]) -> ndarray::ArrayD<f32> {
    array(shape, uniform(&mut rng(seed), shape.iter().product(), 1.0))
}

fn batches() -> Vec<Batch> {
    // The last one is smaller, as at the end of an epoch.
    [7, 7, 3]
        .iter()
        .enumerate()
        .map(|(seed, batch)| {
            let seed = seed as u64;
            Batch::new(
                random(seed, &[5, *batch, 3]),
                random(10 + seed, &[*batch, 2]),
            )
        })
        .collect()
}

fn weights_after(
    device: &Device,
    model: Sequential,
    optimizer: impl Optimizer + 'static,
) -> Vec<(String, ndarray::ArrayD<f64>)> {
    let mut trainer = Trainer::new(model.build(device, 4).unwrap(), optimizer)
        .clip_norm(0.5)
        .build()
        .unwrap();
    for _ in 0..3 {
        batches()
            .iter()
            .for_each(|batch| trainer.step(batch).unwrap());
    }
    trainer
        .model()
        .parameters()
        .to_arrays::<f64>()
        .unwrap()
        .into_iter()
        .collect()
}

#[test]
fn devices_agree_after_nine_steps() {
    let models: [fn() -> Sequential; 4] = [
        || {
            Sequential::new(3)
                .lstm(Lstm::hidden(17).layers(2))
                .last_step()
                .linear(2)
        },
        || {
            Sequential::new(3)
                .gru(Gru::hidden(7))
                .gru(Gru::hidden(5))
                .last_step()
                .linear(2)
        },
        || {
            Sequential::new(3)
                .rnn(Rnn::hidden(33))
                .last_step()
                .linear(2)
                .softmax()
        },
        || {
            Sequential::new(3)
                .linear(9)
                .lstm(Lstm::hidden(5).bidirectional(true))
                .last_step()
                .linear(2)
        },
    ];
    fn check_optimizer(model: fn() -> Sequential, optimizer: impl Optimizer + Copy + 'static) {
        let expected = weights_after(&Device::cpu_f64(), model(), optimizer);
        for device in devices() {
            for ((name, got), (_, expected)) in weights_after(&device, model(), optimizer)
                .iter()
                .zip(&expected)
            {
                if let Err(mismatch) = compare(name, got, expected, 2e-4) {
                    panic!("{optimizer:?} on {device}: {mismatch}");
                }
            }
        }
    }
    for model in models {
        let sgd = Sgd::new(0.1).momentum(0.9).nesterov().weight_decay(0.01);
        check_optimizer(model, sgd);
        // A larger ε than usual: where a gradient is rounding noise, Adam's first steps would make it a full step.
        check_optimizer(model, Adam::new(1e-2).epsilon(1e-4));
        check_optimizer(model, AdamW::new(1e-2).weight_decay(0.1).epsilon(1e-4));
    }
}

#[test]
fn a_run_repeats_to_the_bit() {
    for device in devices() {
        let run = || {
            weights_after(
                &device,
                Sequential::new(3)
                    .lstm(Lstm::hidden(65))
                    .last_step()
                    .linear(2),
                Adam::new(1e-2),
            )
        };
        assert_eq!(run(), run(), "{device}");
    }
}

#[test]
fn a_step_is_one_submit_and_creates_nothing() {
    let Some(device) = gpu() else { return };
    // Counters of its own: other tests run beside this one.
    let (wgpu_device, queue) = device.wgpu().unwrap();
    let device = Device::from_wgpu(wgpu_device.clone(), queue.clone());
    let model = Sequential::new(3)
        .lstm(Lstm::hidden(16).layers(2))
        .last_step()
        .linear(2);
    let mut trainer = Trainer::new(model.build(&device, 0).unwrap(), Adam::new(1e-3))
        .clip_norm(1.0)
        .build()
        .unwrap();
    let batch = &batches()[0];
    trainer.step(batch).unwrap();
    trainer.take_loss().unwrap();
    let before = device.counters();
    (0..3).for_each(|_| trainer.step(batch).unwrap());
    let after = device.counters();
    assert_eq!(after.submits - before.submits, 3);
    assert_eq!(after.readbacks, before.readbacks);
    assert_eq!(
        (after.buffers, after.bind_groups, after.pipelines),
        (before.buffers, before.bind_groups, before.pipelines)
    );
    trainer.take_loss().unwrap();
    assert_eq!(device.counters().readbacks, before.readbacks + 1);
    assert_eq!(
        device.counters().buffers,
        before.buffers,
        "the readback's buffer is used again"
    );
    // The same with a batch that is on the device already.
    let tensor = |values: &ndarray::ArrayD<f32>| Tensor::from_array(&device, values).unwrap();
    let resident = Batch::new(tensor(&random(0, &[5, 7, 3])), tensor(&random(10, &[7, 2])));
    let before = device.counters();
    (0..3).for_each(|_| trainer.step(&resident).unwrap());
    let after = device.counters();
    assert_eq!(after.submits - before.submits, 3);
    assert_eq!(
        (after.buffers, after.bind_groups),
        (before.buffers, before.bind_groups)
    );
}

#[test]
fn tensors_on_the_device_train_like_arrays() {
    for device in devices() {
        let train = |resident: bool| {
            let model = Sequential::new(3)
                .gru(Gru::hidden(5))
                .last_step()
                .linear(2)
                .build(&device, 1)
                .unwrap();
            let mut trainer = Trainer::new(model, Sgd::new(0.1)).build().unwrap();
            let (x, target) = (random(1, &[4, 3, 3]), random(2, &[3, 2]));
            let batch = if resident {
                let tensor = |values| Tensor::from_array(&device, values).unwrap();
                Batch::new(tensor(&x), tensor(&target))
            } else {
                Batch::new(x, target)
            };
            trainer.step(&batch).unwrap();
            trainer.take_loss().unwrap()
        };
        assert_eq!(train(true), train(false), "{device}");
    }
}

#[test]
fn the_mean_loss_weighs_every_example_alike() {
    let device = Device::cpu();
    let build = || Sequential::new(3).linear(2).build(&device, 1).unwrap();
    let (x, target) = (random(1, &[1, 10, 3]), random(2, &[1, 10, 2]));
    let data = Sequences::many_to_many(
        x.clone().into_dimensionality().unwrap(),
        target.clone().into_dimensionality().unwrap(),
    )
    .unwrap();
    let mut trainer = Trainer::new(build(), Sgd::new(0.0)).build().unwrap();
    let whole = trainer.evaluate(&data, 10).unwrap();
    let parts = trainer.evaluate(&data, 4).unwrap();
    assert!((whole - parts).abs() < 1e-6, "{whole} {parts}");
    for examples in [&[0, 1, 2, 3, 4, 5, 6][..], &[7, 8, 9]] {
        trainer.step(&data.batch(examples)).unwrap();
    }
    assert!((trainer.take_loss().unwrap() - whole).abs() < 1e-6);
    let y = build()
        .predict(&x.into_dimensionality::<Ix3>().unwrap())
        .unwrap();
    assert!(((y - target).mapv(|d| d * d).mean().unwrap() - whole as f32).abs() < 1e-6);
}

#[test]
fn one_model_serves_many_threads() {
    let x = random(1, &[6, 4, 3]).into_dimensionality::<Ix3>().unwrap();
    for device in devices() {
        let model = Sequential::new(3)
            .lstm(Lstm::hidden(33))
            .linear(2)
            .build(&device, 1)
            .unwrap();
        let expected = model.predict(&x).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        assert_eq!(model.predict(&x).unwrap(), expected);
                        model
                            .parameters()
                            .set("1.bias", &expected_bias(&model))
                            .unwrap();
                    }
                });
            }
        });
    }
}

fn expected_bias(model: &Model) -> ndarray::ArrayD<f32> {
    model
        .parameters()
        .to_arrays::<f32>()
        .unwrap()
        .remove("1.bias")
        .unwrap()
}
