//! Futures: they may move between threads, leave their thread to others while they wait, and may be dropped at any time.

use crate::common::{devices, gpu};
use bptt::data::{Batch, Sequence, Sequences};
use bptt::nn::{Lstm, Sequential};
use bptt::program::Matrix;
use bptt::train::{Accuracy, Adam, Cosine, Mse, Trainer};
use bptt::{Device, Executable, Program, Tensor};
use ndarray::{Array2, Array3};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn is_send<T: Send>(_: T) {}

fn trainer(device: &Device) -> Trainer {
    let model = Sequential::new(3)
        .lstm(Lstm::hidden(8))
        .last_step()
        .linear(2);
    let model = model.build(device, 1).unwrap();
    let trainer = Trainer::new(model, Adam::new(1e-3)).loss(Mse::mean());
    trainer.clip_norm(1.0).build().unwrap()
}

fn data() -> Sequences {
    let x = Array3::from_shape_fn((9, 64, 3), |(t, n, f)| {
        ((t + 3 * n + 5 * f) % 7) as f32 / 7.0
    });
    Sequences::many_to_one(x, Array2::from_elem((64, 2), 0.5)).unwrap()
}

/// Compiles or does not.
#[test]
fn every_future_is_send() {
    is_send(Device::best_async());
    is_send(Device::gpu_async());
    is_send(Device::gpu_named_async("none"));
    is_send(Device::gpu_f16_async());
    is_send(Device::adapters_async());
    let (mut trainer, data) = (trainer(&Device::cpu()), data());
    let x = Array3::<f32>::zeros((2, 1, 3));
    let tensor = Tensor::zeros(&Device::cpu(), &[1]).unwrap();
    is_send(tensor.to_array_async::<f32>());
    is_send(trainer.model().predict_async(&x));
    is_send(trainer.model().predict_ragged_async(&x, &[1]));
    is_send(trainer.model().predict_all_async::<f32>(&[]));
    is_send(trainer.model().parameters().to_arrays_async::<f32>());
    is_send(trainer.model().parameters().save_async("never written"));
    is_send(trainer.gradients_async::<f32>());
    is_send(trainer.gradient_norm_async());
    is_send(trainer.take_loss_async());
    is_send(trainer.evaluate_async(&data, 4));
    is_send(trainer.measure_async(&data, 4, &[&Accuracy]));
    let fit = trainer.fit(&data).validation(&data).schedule(Cosine);
    is_send(
        fit.metric(Accuracy)
            .callback(|_: &bptt::train::Epoch| ())
            .run_async(),
    );
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap()
}

/// Counts the times that a task of the same thread runs, `every` so long.
fn ticker(every: Duration) -> Arc<AtomicUsize> {
    let ticks = Arc::new(AtomicUsize::new(0));
    let own = Arc::clone(&ticks);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            own.fetch_add(1, Ordering::Relaxed);
        }
    });
    ticks
}

/// Far above what is asked for: others may be at work on this machine.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_training_ends_by_a_timeout_lets_others_run_and_leaves_a_trainer_that_works() {
    for device in devices() {
        for spawned in [false, true] {
            let (mut trainer, data) = (trainer(&device), data());
            // Compiles.
            trainer
                .fit(&data)
                .batch_size(4)
                .validation(&data)
                .run()
                .unwrap();
            let (mut trainer, steps) = runtime().block_on(async {
                let ticks = ticker(Duration::from_millis(10));
                let start = Instant::now();
                let work = async move {
                    let fit = trainer.fit(&data).batch_size(4).validation(&data);
                    let fit = fit.epochs(1_000_000).schedule(Cosine).run_async();
                    let outcome = tokio::time::timeout(Duration::from_millis(50), fit).await;
                    assert!(outcome.is_err(), "{outcome:?}");
                    // Evaluations too.
                    let forever = async {
                        loop {
                            trainer.evaluate_async(&data, 4).await.unwrap();
                        }
                    };
                    let outcome = tokio::time::timeout(Duration::from_millis(50), forever).await;
                    assert!(outcome.is_err());
                    let steps = trainer.steps();
                    (trainer, steps)
                };
                let outcome = match spawned {
                    true => tokio::spawn(work).await.unwrap(),
                    false => work.await,
                };
                assert!(start.elapsed() < SOON, "{device}: {:?}", start.elapsed());
                let ticks = ticks.load(Ordering::Relaxed);
                assert!(ticks >= 1, "{device}: {ticks} ticks");
                outcome
            });
            assert_eq!(trainer.learning_rate(), 1e-3, "{device}");
            let batch = Batch::new(Array3::<f32>::ones((9, 4, 3)), Array2::<f32>::zeros((4, 2)));
            trainer.step(&batch).unwrap();
            assert_eq!(trainer.steps(), steps + 1);
            assert!(trainer.take_loss().unwrap().is_finite());
            let history = trainer.fit(&self::data()).run().unwrap();
            assert!(history.epochs[0].loss.is_finite(), "{device}");
        }
    }
}

/// A program that keeps a GPU busy for a while.
fn busy(device: &Device, repeats: usize) -> (Executable, Tensor) {
    let size = 256;
    let mut program = Program::new();
    let [a, c] = ["a", "c"].map(|name| program.tensor(name, &[size, size]));
    let [of_a, of_c] = [a, c].map(|slice| -> Matrix { slice.matrix(size, size) });
    (0..repeats).for_each(|_| program.push(bptt::program::Gemm::new(of_a, of_a, of_c)));
    let program = Executable::new(device, program, &[]).unwrap();
    let result = program.tensor(c.tensor).clone();
    (program, result)
}

#[test]
fn reading_waits_without_the_thread() {
    let Some(device) = gpu() else { return };
    let (program, result) = busy(&device, 100);
    program.run().unwrap();
    device.wait().unwrap();
    runtime().block_on(async {
        let ticks = ticker(Duration::from_millis(1));
        (0..5).for_each(|_| program.run().unwrap());
        let start = Instant::now();
        result.to_array_async::<f32>().await.unwrap();
        let (ticks, time) = (ticks.load(Ordering::Relaxed), start.elapsed());
        assert!(
            ticks >= 1 || time < Duration::from_millis(5),
            "{ticks} ticks in {time:?}"
        );
        // One that is dropped while it waits.
        for _ in 0..3 {
            program.run().unwrap();
            let read = result.to_array_async::<f32>();
            tokio::time::timeout(Duration::from_micros(100), read)
                .await
                .ok();
        }
        // Several at once.
        let reads = (0..4).map(|_| result.to_array_async::<f32>());
        futures::future::try_join_all(reads).await.unwrap();
        assert_eq!(result.to_array_async::<f32>().await.unwrap().sum(), 0.0);
    });
}

#[test]
fn devices_open_without_the_thread() {
    runtime().block_on(async {
        let ticks = ticker(Duration::from_micros(100));
        let start = Instant::now();
        Device::adapters_async().await;
        Device::best_async().await;
        let (ticks, time) = (ticks.load(Ordering::Relaxed), start.elapsed());
        assert!(
            ticks >= 1 || time < Duration::from_millis(5),
            "{ticks} ticks in {time:?}"
        );
    });
}

/// Nothing is read, and still the queue does not grow without end.
#[test]
fn a_gpu_that_is_not_read_is_waited_for() {
    let Some(device) = gpu() else { return };
    // A device of its own, as the queue of another has other tests' work.
    let device = Device::gpu_named(&device.adapter().unwrap().name).unwrap();
    let (program, _) = busy(&device, 1);
    let done = Arc::new(AtomicUsize::new(0));
    let (_, queue) = device.wgpu().unwrap();
    let mut most = 0;
    for submitted in 1..=200 {
        program.run().unwrap();
        let done_now = Arc::clone(&done);
        queue.on_submitted_work_done(move || {
            done_now.fetch_add(1, Ordering::Relaxed);
        });
        most = most.max(submitted - done.load(Ordering::Relaxed));
    }
    assert!(most <= 66, "{most} submits in flight");
}

#[test]
fn predictions_in_batches_let_others_run() {
    for device in devices() {
        let trainer = trainer(&device);
        let rows = 100_000;
        let x = Array3::<f32>::zeros((1, rows, 3));
        let start = Instant::now();
        runtime().block_on(async {
            let inputs = [Sequence::new(x)];
            let predict = trainer.model().predict_in_batches_async::<f32>(&inputs, 1);
            let outcome = tokio::time::timeout(Duration::from_millis(50), predict).await;
            assert!(outcome.is_err(), "{device}");
        });
        assert!(start.elapsed() < SOON, "{device}: {:?}", start.elapsed());
    }
}
