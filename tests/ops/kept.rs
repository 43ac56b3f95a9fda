//! What is made of weights is kept from run to run, and made anew when a weight has changed, by
//! whatever way.

use crate::common::{Case, every_device, gpu, rng, uniform};
use crate::gemm::own_gpu;
use crate::recurrent_forward::{Options, forward};
use bptt::CellRef;
use bptt::gpu::{RecurrentChoice, RecurrentWalk};
use bptt::program::{Gemm, Map, Op, Program, RecurrentForward, Slice};
use bptt::verify::SINGLE;
use bptt::{Device, Error, Executable, Precision, Tensor};
use ndarray::ArrayD;
use std::sync::atomic::{AtomicBool, Ordering};

/// A recurrence with all that is packed, as in inference, and the tensors of that: R, biases,
/// projection, diagonal weights, mask.
fn recurrence(steps: usize, masked: bool) -> (Case, Vec<Slice>) {
    let mut case = Case::new(21);
    let has_all = |cell: &CellRef| cell.diagonals() > 0 && cell.states() > 1;
    let cell = CellRef::builtin().into_iter().find(has_all).unwrap();
    let options = Options {
        directions: 2,
        projected: true,
        masked,
        ..Options::PLAIN
    };
    let (op, _) = forward(&mut case, &cell, (steps, 2, 5), options);
    let op = RecurrentForward { saved: None, ..op };
    let weights = [
        Some(op.weights.weight_hh),
        op.weights.bias_hh,
        op.weights.weight_hr,
        op.weights.weight_diag,
    ];
    let weights = weights.map(|weight| weight.unwrap().first);
    let tensors = weights.into_iter().chain(op.mask).collect();
    case.program.push(op);
    (case, tensors)
}

/// What enters the gates from the input.
fn x_gates(case: &Case) -> Slice {
    let x_gates = |op: &Op| match op {
        Op::RecurrentForward(op) => Some(op.x_gates),
        _ => None,
    };
    case.program.ops().iter().find_map(x_gates).unwrap()
}

fn values(case: &Case, tensor: Slice, seed: u64) -> Vec<f32> {
    let len = case.program.spec(tensor.tensor).len();
    uniform(&mut rng(seed), len, 0.5)
}

type Results = Vec<(String, ArrayD<f64>)>;

fn run(case: &Case, executable: &Executable) -> Results {
    executable.run().unwrap();
    case.read(executable)
}

/// Results before, with the weights as they were and after `change` has given a tensor other
/// numbers, which must be what the same program makes of them from the start.
fn check(
    device: &Device,
    case: &mut Case,
    tensor: Slice,
    change: impl Fn(&Executable, &[f32]),
) -> Results {
    let executable = case.compile(device);
    let before = run(case, &executable);
    assert_eq!(run(case, &executable), before);
    for seed in [1, 2] {
        let values = values(case, tensor, seed);
        change(&executable, &values);
        case.set(tensor, values);
        let after = run(case, &executable);
        let name = &case.program.spec(tensor.tensor).name;
        assert_eq!(after, case.run(device), "{name} on {device}");
        assert_ne!(after, before, "{name} on {device}");
        assert_eq!(run(case, &executable), after, "{name} on {device}");
    }
    before
}

fn write(tensor: Slice) -> impl Fn(&Executable, &[f32]) {
    move |executable, values| {
        let target = executable.tensor(tensor.tensor);
        let values = ArrayD::from_shape_vec(target.shape(), values.to_vec());
        target.write(&values.unwrap()).unwrap();
    }
}

#[test]
fn a_write_to_any_of_the_tensors_is_seen() {
    for device in every_device() {
        for masked in [false, true] {
            let tensors = recurrence(3, masked).1.len();
            for index in 0..tensors {
                let (mut case, tensors) = recurrence(3, masked);
                check(&device, &mut case, tensors[index], write(tensors[index]));
            }
        }
    }
}

/// Weights of the inputs that are packed with R, as the walk by invocations packs them.
#[test]
fn a_write_to_the_weights_of_the_inputs_is_seen() {
    let Some(device) = own_gpu() else { return };
    let choice = RecurrentChoice::new(RecurrentWalk::Invocation, 1, 1, false).unwrap();
    device.set_recurrent_choice(Some(choice)).unwrap();
    let mut case = Case::new(22);
    let cell = CellRef::builtin().remove(0);
    let options = Options {
        with: false,
        ..Options::PLAIN
    };
    let (op, _) = forward(&mut case, &cell, (4, 2, 5), options);
    let width = cell.gates() * 5;
    let x = case.random("x", &[8, 3], 1.0);
    let weight = case.random("weight_ih", &[width, 3], 1.0);
    let x_gates = case.program.temporary("gates of x", &[8, width]);
    let product = Gemm::new(
        x.matrix(8, 3),
        weight.matrix(width, 3),
        x_gates.matrix(8, width),
    );
    let products = vec![product.transpose_b()];
    case.program.push(RecurrentForward {
        products,
        x_gates,
        ..op
    });
    let executable = case.compile(&device);
    assert!(!executable.kernels().contains(&"gemm"));
    check(&device, &mut case, weight, write(weight));
    case.check(SINGLE);
}

#[test]
fn another_program_that_writes_is_seen() {
    for device in every_device() {
        for profiled in [false, true] {
            let (mut case, tensors) = recurrence(3, false);
            let tensor = tensors[0];
            let executable = case.compile(&device);
            let before = run(&case, &executable);
            let weights = executable.tensor(tensor.tensor).clone();
            let mut other = Program::new();
            let target = other.external(0, "weights", weights.shape());
            let value = 0.125;
            other.push(Map::fill(target, value));
            let other = Executable::new(&device, other, &[weights]).unwrap();
            if profiled {
                match other.profile() {
                    Err(Error::Feature { .. }) => continue,
                    outcome => drop(outcome.unwrap()),
                }
            } else {
                other.run().unwrap();
            }
            case.set(tensor, vec![value as f32; target.len]);
            let after = run(&case, &executable);
            assert_eq!(after, case.run(&device), "{device}");
            assert_ne!(after, before, "{device}");
        }
    }
}

/// A run sees all that another program writes, or none of it.
#[test]
fn writes_of_another_thread_are_seen_together() {
    let Some(device) = own_gpu() else { return };
    // Many dispatches, so that a run takes its time to be made.
    let choice = RecurrentChoice::new(RecurrentWalk::Device, 1, 1, false).unwrap();
    device.set_recurrent_choice(Some(choice)).unwrap();
    let (case, tensors) = recurrence(100, false);
    let executable = case.compile(&device);
    // One that is kept as it was packed, and one that is read as it is.
    let tensors = [tensors[0], x_gates(&case)];
    let fill = [0.125, -0.25].map(|value| {
        let mut program = Program::new();
        let held = tensors.map(|tensor| executable.tensor(tensor.tensor).clone());
        for (index, held) in held.iter().enumerate() {
            let target = program.external(index, "weights", held.shape());
            program.push(Map::fill(target, value));
        }
        Executable::new(&device, program, &held).unwrap()
    });
    let mut expected = vec![];
    for fill in &fill {
        fill.run().unwrap();
        expected.push(run(&case, &executable));
    }
    assert_ne!(expected[0], expected[1]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for fill in &fill {
                    fill.run().unwrap();
                    device.wait().unwrap();
                }
            }
        });
        for _ in 0..100 {
            let got = run(&case, &executable);
            if !expected.contains(&got) {
                done.store(true, Ordering::Relaxed);
                panic!("neither of both");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_the_caller_writes_to_the_buffer_is_seen() {
    let Some(device) = gpu() else { return };
    for index in 0..2 {
        let (mut case, tensors) = recurrence(3, false);
        let tensor = tensors[index];
        check(&device, &mut case, tensor, |executable, values| {
            let buffer = executable.tensor(tensor.tensor).wgpu_buffer().unwrap();
            let (_, queue) = device.wgpu().unwrap();
            queue.write_buffer(buffer, 0, bytemuck::cast_slice(values));
        });
    }
}

/// Packed weights made of a buffer of the caller's never outlast a run.
#[test]
fn what_the_caller_writes_to_a_buffer_of_its_own_is_seen() {
    let Some(device) = own_gpu() else { return };
    device.set_precision(Precision::F16).unwrap();
    let (wgpu, queue) = device.wgpu().unwrap();
    let buffer = wgpu.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * 4 * 8,
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let weights = Tensor::from_wgpu(&device, buffer.clone(), &[4, 8]).unwrap();
    let mut program = Program::new();
    let a = program.tensor("a", &[2, 8]);
    let b = program.external(0, "weights", &[4, 8]);
    let c = program.tensor("c", &[2, 4]);
    program.push(Map::fill(a, 1.0));
    program.push(Gemm {
        transpose_b: true,
        weights: true,
        ..Gemm::new(a.matrix(2, 8), b.matrix(4, 8), c.matrix(2, 4))
    });
    let executable = Executable::new(&device, program, &[weights]).unwrap();
    for value in [0.5f32, 0.25, -2.0] {
        queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&[value; 32]));
        executable.run().unwrap();
        let c = executable.tensor(c.tensor).to_array::<f32>().unwrap();
        assert_eq!(c, ArrayD::from_elem(vec![2, 4], 8.0 * value));
    }
}

#[test]
fn weights_are_packed_in_the_first_run_alone() {
    let Some(device) = own_gpu() else { return };
    let (case, tensors) = recurrence(3, false);
    let executable = case.compile(&device);
    let dispatches = || {
        let before = device.counters().dispatches;
        executable.run().unwrap();
        device.counters().dispatches - before
    };
    let first = dispatches();
    assert_eq!(first, executable.kernels().len() as u64);
    assert_eq!([dispatches(), dispatches()], [first - 1; 2]);
    write(tensors[0])(&executable, &values(&case, tensors[0], 3));
    assert_eq!([dispatches(), dispatches()], [first, first - 1]);
    // Whoever has a buffer may write to it at any time.
    executable.tensor(tensors[0].tensor).wgpu_buffer().unwrap();
    assert_eq!([dispatches(), dispatches()], [first; 2]);
}

#[test]
fn weights_in_f16() {
    let Some(device) = own_gpu() else { return };
    device.set_precision(Precision::F16).unwrap();
    let mut case = Case::new(5);
    let a = case.random("a", &[6, 8], 1.0);
    let b = case.random("weights", &[12, 8], 1.0);
    let c = case.output("c", &[6, 12]);
    let (a, c) = (a.matrix(6, 8), c.matrix(6, 12));
    case.program.push(Gemm {
        transpose_b: true,
        weights: true,
        ..Gemm::new(a, b.matrix(12, 8), c)
    });
    let before = check(&device, &mut case, b, write(b));
    let device = Device::gpu().unwrap();
    assert_ne!(case.run(&device), before);
}
