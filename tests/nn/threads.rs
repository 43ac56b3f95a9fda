//! The CPU path on threads of any kind: nothing waits for ever, and nothing is counted twice.

use crate::runs::{random, tensor};
use bptt::data::Batch;
use bptt::nn::{Lstm, Model, Sequential};
use bptt::program::{Gemm, Program};
use bptt::train::{Adam, Trainer};
use bptt::{Device, Executable, Tensor, with_threads};
use ndarray::{Array2, Array3, ArrayD};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// `[T, B, I]`: a step has several operations that are worth a second thread.
const SHAPE: [usize; 3] = [24, 16, 32];
const HIDDEN: usize = 128;
const OUTPUTS: usize = 512;

/// Runs a function on a thread of its own; fails where it does not come back.
fn in_time<R: Send + 'static>(what: &str, run: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, outcome) = channel();
    let thread = thread::spawn(move || done.send(run()).ok());
    match outcome.recv_timeout(Duration::from_secs(120)) {
        Ok(result) => result,
        Err(_) if thread.is_finished() => panic!("{what}: panicked"),
        Err(_) => panic!("{what}: waits for ever"),
    }
}

fn model() -> Model {
    let model = Sequential::new(SHAPE[2]).lstm(Lstm::hidden(HIDDEN));
    model.linear(OUTPUTS).build(&Device::cpu(), 1).unwrap()
}

fn batch() -> Batch {
    Batch::new(
        Array3::<f32>::from_elem(SHAPE, 0.25),
        Array3::<f32>::from_elem([SHAPE[0], SHAPE[1], OUTPUTS], 0.5),
    )
}

/// The weights after some steps.
fn trained(steps: usize) -> Vec<ArrayD<f32>> {
    let mut trainer = Trainer::new(model(), Adam::new(1e-3)).build().unwrap();
    for _ in 0..steps {
        trainer.step(&batch()).unwrap();
    }
    let weights = trainer.model().parameters().to_arrays().unwrap();
    weights.into_values().collect()
}

fn pool(threads: usize) -> rayon::ThreadPool {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap()
}

/// Where jobs of a user's run: rayon's own pool, or one of so many threads.
struct Jobs(Option<rayon::ThreadPool>);

impl Jobs {
    fn each() -> impl Iterator<Item = (String, Self)> {
        (0..4).map(|threads| match threads {
            0 => ("rayon's own pool".to_owned(), Self(None)),
            _ => (format!("a pool of {threads}"), Self(Some(pool(threads)))),
        })
    }

    fn run<R: Send>(&self, job: impl FnOnce() -> R + Send) -> R {
        match &self.0 {
            Some(pool) => pool.install(job),
            None => rayon::scope(|_| job()),
        }
    }

    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(pool) => pool.spawn(job),
            None => rayon::spawn(job),
        }
    }
}

#[test]
fn training_beside_jobs_that_read_its_weights() {
    const STEPS: usize = 40;
    let train = |jobs: &Jobs| -> Vec<ArrayD<f32>> {
        let mut trainer = Trainer::new(model(), Adam::new(1e-3)).build().unwrap();
        let weights = trainer.model().parameters().clone();
        let (batch, stop) = (batch(), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        jobs.run(|| weights.to_arrays::<f32>().unwrap());
                        thread::sleep(Duration::from_micros(500));
                    }
                });
            }
            for _ in 0..STEPS {
                jobs.run(|| trainer.step(&batch).unwrap());
            }
            stop.store(true, Ordering::Relaxed);
        });
        weights.to_arrays::<f32>().unwrap().into_values().collect()
    };
    let alone = trained(STEPS);
    for (name, jobs) in Jobs::each() {
        let weights = in_time(&name, move || train(&jobs));
        assert_eq!(weights, alone, "{name}");
    }
}

/// Training in one pool, inside of another, with jobs of both waiting.
#[test]
fn training_in_nested_pools_of_a_users_own() {
    let alone = trained(3);
    let weights = in_time("nested pools", || {
        let (outer, inner) = (pool(2), pool(2));
        outer.install(|| {
            inner.install(|| {
                let jobs = |_: usize| trained(3);
                let (a, b) = rayon::join(|| jobs(0), || jobs(1));
                assert_eq!(a, b);
                a
            })
        })
    });
    assert_eq!(weights, alone);
}

#[test]
fn jobs_that_predict_and_load_weights() {
    const JOBS: usize = 300;
    for (name, jobs) in Jobs::each() {
        in_time(&name, move || {
            let model = Arc::new(model());
            let weights = Arc::new(model.parameters().to_arrays::<f32>().unwrap());
            let x = Arc::new(random(1, &SHAPE).into_dimensionality().unwrap());
            let expected = model.predict(&x).unwrap();
            let (done, results) = channel();
            for job in 0..JOBS {
                let (model, weights) = (Arc::clone(&model), Arc::clone(&weights));
                let (x, done) = (Arc::clone(&x), done.clone());
                jobs.spawn(move || {
                    if job % 5 == 0 {
                        model.parameters().load(&weights).unwrap();
                    }
                    done.send(model.predict(&x).unwrap()).unwrap();
                });
            }
            for result in results.iter().take(JOBS) {
                assert_eq!(result, expected);
            }
        });
    }
}

#[test]
fn predictions_in_an_executors_blocking_pool() {
    in_time("a blocking pool", || {
        let model = Arc::new(model());
        let weights = Arc::new(model.parameters().to_arrays::<f32>().unwrap());
        let x = Arc::new(random(1, &SHAPE).into_dimensionality().unwrap());
        let expected = model.predict(&x).unwrap();
        let executor = tokio::runtime::Builder::new_current_thread().build();
        executor.unwrap().block_on(async {
            let jobs = (0..40).map(|job| {
                let (model, weights) = (Arc::clone(&model), Arc::clone(&weights));
                let x = Arc::clone(&x);
                tokio::task::spawn_blocking(move || {
                    if job % 5 == 0 {
                        model.parameters().load(&weights).unwrap();
                    }
                    model.predict(&x).unwrap()
                })
            });
            for job in jobs.collect::<Vec<_>>() {
                assert_eq!(job.await.unwrap(), expected);
            }
        });
    });
}

#[test]
fn forward_beside_writes() {
    in_time("forward beside writes", || {
        let model = model();
        let x = tensor(&Device::cpu(), &random(1, &SHAPE));
        let given = random(2, &SHAPE);
        let name = "0.weight_ih_l0";
        let weights = model.parameters().to_arrays::<f32>().unwrap();
        let weight = weights
            .get(name)
            .unwrap_or_else(|| panic!("{:?}", weights.keys()));
        thread::scope(|scope| {
            scope.spawn(|| (0..50).for_each(|_| x.write(&given).unwrap()));
            scope.spawn(|| (0..50).for_each(|_| model.parameters().set(name, weight).unwrap()));
            for _ in 0..20 {
                model.forward(&x).unwrap();
            }
        });
    });
}

/// c += a b, as one program among several over the same tensors.
fn adds(device: &Device, tensors: [&Tensor; 3]) -> Executable {
    let mut program = Program::new();
    let names = ["a", "b", "c"].into_iter().enumerate();
    let [a, b, c] = names
        .map(|(index, name)| program.external(index, name, &[2, 2]).matrix(2, 2))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    program.push(Gemm::new(a, b, c).accumulate(true));
    Executable::new(device, program, &tensors.map(Tensor::clone)).unwrap()
}

#[test]
fn programs_that_share_tensors_in_other_roles() {
    const RUNS: usize = 20_000;
    for device in [Device::cpu(), Device::cpu_f64()] {
        let sums = in_time("programs that share tensors", move || {
            let of =
                |value: f64| Tensor::from_array(&device, &(Array2::<f64>::eye(2) * value)).unwrap();
            let [one, two, zero, a, b] = [1.0, 2.0, 0.0, 0.0, 0.0].map(of);
            // What is read here is written there; the products with 0 change nothing.
            let programs = [
                adds(&device, [&one, &two, &a]),
                adds(&device, [&a, &zero, &b]),
                adds(&device, [&b, &zero, &a]),
            ];
            thread::scope(|scope| {
                for program in [0, 0, 1, 2] {
                    let program = &programs[program];
                    scope.spawn(move || (0..RUNS).for_each(|_| program.run().unwrap()));
                }
            });
            a.to_array::<f64>().unwrap()
        });
        let expected = Array2::<f64>::eye(2) * (4 * RUNS) as f64;
        assert_eq!(sums, expected.into_dyn());
    }
}

/// On this thread, as a process that may start none runs it too.
#[test]
fn more_threads_than_processors_change_no_bit() {
    let one = with_threads(1, || trained(2));
    for threads in [0, 2, 8, usize::MAX] {
        let many = with_threads(threads, || trained(2));
        assert_eq!(many, one, "{threads} threads");
    }
}

/// The test above once more: with one processor, then as a user who may start no thread.
#[test]
fn few_processors_and_no_threads_to_be_had() {
    let test = std::env::current_exe().unwrap();
    // Root is held to no number, so another user runs it.
    let nobody = [
        "prlimit",
        "--nproc=1",
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
    ];
    for tools in [&["taskset", "-c", "0"][..], &nobody] {
        let mut run = Command::new(tools[0]);
        run.args(&tools[1..]).arg(&test);
        run.args([
            "threads::more_threads_than_processors_change_no_bit",
            "--exact",
        ]);
        let ran = run.arg("--test-threads=1").output();
        let ran = match ran {
            Ok(ran) if !matches!(ran.status.code(), Some(126 | 127)) => ran,
            _ => {
                crate::common::skipped(&format!("{} is not to be had", tools[0]));
                continue;
            }
        };
        let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
        assert!(
            ran.status.success() && said.contains("1 passed"),
            "{run:?}: {said}"
        );
    }
}

/// Half the least number with all its digits.
fn tiny() -> f32 {
    std::hint::black_box(f32::MIN_POSITIVE / 2.0)
}

/// Such numbers count as 0 in f32 while the crate computes, on all of its threads; afterwards, and in f64, they are what they are.
#[test]
fn numbers_too_small_for_all_digits_are_zero_in_f32_and_nowhere_else() {
    // [T, B, I] that one thread takes, and several.
    for shape in [[3, 2, 1], [64, 512, 64]] {
        let of = |device: &Device| {
            let model = Sequential::new(shape[2])
                .linear(1)
                .build(device, 1)
                .unwrap();
            let weights = model.parameters();
            for name in weights.names().collect::<Vec<_>>() {
                let of_shape = weights.shape(name).unwrap();
                let value = if name.ends_with("weight") { 0.5 } else { 0.0 };
                let values = ArrayD::<f32>::from_elem(of_shape, value);
                weights.set(name, &values).unwrap();
            }
            let mut x = Array3::<f32>::zeros(shape);
            x.slice_mut(ndarray::s![.., .., 0]).fill(tiny());
            let y = model.predict(&x).unwrap();
            assert!(
                tiny() * std::hint::black_box(1.0) > 0.0,
                "the caller's mode stays"
            );
            y
        };
        assert!(of(&Device::cpu()).iter().all(|y| *y == 0.0));
        let expected = tiny() * 0.5;
        assert!(of(&Device::cpu_f64()).iter().all(|y| *y == expected));
    }
}
