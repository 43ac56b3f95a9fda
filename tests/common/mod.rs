//! What the tests share: devices, random numbers, and cases of one program on every device.
#![allow(dead_code, reason = "each test binary uses its part")]

use bptt::program::{Matrix, Program, Slice};
use bptt::verify::compare;
use bptt::{Device, Executable};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, OnceLock};

/// A gradient passes through every step, so rounding errors of all of them meet in it.
pub const SINGLE_THROUGH_TIME: f64 = 1e-4;

/// The GPU under test: the adapter `BPTT_ADAPTER` names, or the best there is, a software adapter too. Without one, a line
/// that says SKIPPED; with `BPTT_REQUIRE_GPU` set, a failure.
pub fn gpu() -> Option<Device> {
    static GPU: OnceLock<Result<Device, String>> = OnceLock::new();
    let outcome = GPU.get_or_init(|| Device::gpu().map_err(|reason| reason.to_string()));
    match outcome {
        Ok(device) => Some(device.clone()),
        Err(reason) if std::env::var_os("BPTT_REQUIRE_GPU").is_some() => {
            panic!("BPTT_REQUIRE_GPU is set, but: {reason}")
        }
        Err(reason) => {
            let test = std::thread::current().name().unwrap_or("?").to_owned();
            static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
            if TOLD.lock().unwrap().insert(test.clone()) {
                // Past the harness's capture, which would hide it in a test that passes.
                writeln!(std::io::stderr(), "SKIPPED {test} on the GPU: {reason}").ok();
            }
            None
        }
    }
}

/// The f32 devices: the CPU, and the GPU where there is one.
pub fn devices() -> Vec<Device> {
    std::iter::once(Device::cpu()).chain(gpu()).collect()
}

/// The reference in f64, then the f32 devices.
pub fn every_device() -> Vec<Device> {
    std::iter::once(Device::cpu_f64())
        .chain(devices())
        .collect()
}

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Numbers in ±`bound`, exact in f32.
pub fn uniform(rng: &mut ChaCha8Rng, len: usize, bound: f32) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-bound..=bound)).collect()
}

pub fn array(shape: &[usize], values: Vec<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(shape, values).unwrap()
}

/// Says that a test did not run, and why, past the harness's capture, which would hide it in a test that passes.
pub fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    writeln!(std::io::stderr(), "SKIPPED {test}: {reason}").ok();
}

/// The nearest number in f16, of two the even one, at most 65,504.
pub fn rounded_to_f16(value: f32) -> f32 {
    let wide = f64::from(value).clamp(-65504.0, 65504.0);
    // An exponent has 11 bits to count with, the least of all is that of 2⁻¹⁴.
    let exponent = wide.abs().log2().floor().max(-14.0);
    let step = (exponent - 10.0).exp2();
    ((wide / step).round_ties_even() * step) as f32
}

/// A program with values for some tensors and the names of those to compare.
pub struct Case {
    pub program: Program,
    inputs: Vec<(Slice, Vec<f32>)>,
    wholes: Vec<(Slice, Vec<u32>)>,
    outputs: Vec<Slice>,
    rng: ChaCha8Rng,
}

impl Case {
    pub fn new(seed: u64) -> Self {
        Self {
            program: Program::new(),
            inputs: vec![],
            wholes: vec![],
            outputs: vec![],
            rng: rng(seed),
        }
    }

    /// A tensor of random numbers in ±`bound`.
    pub fn random(&mut self, name: &str, shape: &[usize], bound: f32) -> Slice {
        let values = uniform(&mut self.rng, shape.iter().product(), bound);
        self.given(name, shape, values)
    }

    /// A tensor of given numbers.
    pub fn given(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Slice {
        let slice = self.program.tensor(name, shape);
        self.inputs.push((slice, values));
        slice
    }

    /// A tensor of given whole numbers.
    pub fn wholes(&mut self, name: &str, shape: &[usize], values: Vec<u32>) -> Slice {
        let slice = self.program.tensor(name, shape);
        self.wholes.push((slice, values));
        slice
    }

    /// Seed and step, among other numbers.
    pub fn random_state(&mut self, seed: u64, step: u64) -> Slice {
        let words = [seed, seed >> 32, step, step >> 32].map(|word| word as u32);
        let around = [&[7, 8, 9], &words[..], &[1, 2]].concat();
        self.wholes("seed, step", &[around.len()], around)
            .part(3, 4)
    }

    /// A tensor of random numbers, and a matrix inside it: elements before and after every row are not the matrix's.
    pub fn random_around(&mut self, name: &str, rows: usize, columns: usize) -> (Slice, Matrix) {
        let (all_rows, all_columns) = (rows + 2, columns + 3);
        let whole = self.random(name, &[all_rows, all_columns], 1.0);
        let matrix = whole.matrix(all_rows, all_columns);
        (whole, matrix.rows(1, rows).columns(2, columns))
    }

    /// A tensor that the program must fill.
    pub fn output(&mut self, name: &str, shape: &[usize]) -> Slice {
        let slice = self.program.tensor(name, shape);
        self.outputs.push(slice);
        slice
    }

    /// Makes one element of a given tensor a NaN.
    pub fn poison(&mut self, slice: Slice, index: usize) {
        let input = self
            .inputs
            .iter_mut()
            .find(|(given, _)| given.tensor == slice.tensor);
        input.unwrap().1[slice.offset + index] = f32::NAN;
    }

    /// The case with some of its given tensors rounded to f16.
    pub fn rounded_to_f16(&self, names: &[&str]) -> Self {
        let rounded = |(slice, values): &(Slice, Vec<f32>)| {
            let mut values = values.clone();
            if names.contains(&self.name(*slice)) {
                values.iter_mut().for_each(|x| *x = rounded_to_f16(*x));
            }
            (*slice, values)
        };
        Self {
            program: self.program.clone(),
            inputs: self.inputs.iter().map(rounded).collect(),
            wholes: self.wholes.clone(),
            outputs: self.outputs.clone(),
            rng: rng(0),
        }
    }

    /// Compares a given tensor afterwards too, as the program changes it.
    pub fn also_output(&mut self, slice: Slice) {
        self.outputs.push(slice);
    }

    /// Gives one of the given tensors other numbers.
    pub fn set(&mut self, slice: Slice, values: Vec<f32>) {
        let input = self.inputs.iter_mut();
        let mut given = input.filter(|(given, _)| given.tensor == slice.tensor);
        given.next().unwrap().1 = values;
    }

    pub fn run(&self, device: &Device) -> Vec<(String, ArrayD<f64>)> {
        let executable = self.compile(device);
        executable.run().unwrap();
        self.read(&executable)
    }

    /// The program, ready to run.
    pub fn compile(&self, device: &Device) -> Executable {
        let executable = Executable::new(device, self.program.clone(), &[]).unwrap();
        for id in self.program.ids() {
            // Every tensor is poisoned first: what the program forgets to write stays NaN.
            let spec = self.program.spec(id);
            if let Some((_, wholes)) = self.wholes.iter().find(|(slice, _)| slice.tensor == id) {
                let wholes = ArrayD::from_shape_vec(spec.shape.clone(), wholes.clone());
                executable
                    .tensor(id)
                    .write_indices(&wholes.unwrap())
                    .unwrap();
                continue;
            }
            let given = self.inputs.iter().find(|(slice, _)| slice.tensor == id);
            let values =
                given.map_or_else(|| vec![f32::NAN; spec.len()], |(_, values)| values.clone());
            executable
                .tensor(id)
                .write(&array(&spec.shape, values))
                .unwrap();
        }
        executable
    }

    /// What it has given.
    pub fn read(&self, executable: &Executable) -> Vec<(String, ArrayD<f64>)> {
        let read = |slice: &Slice| {
            (
                self.name(*slice).to_owned(),
                executable.tensor(slice.tensor).to_array::<f64>().unwrap(),
            )
        };
        self.outputs.iter().map(read).collect()
    }

    fn name(&self, slice: Slice) -> &str {
        &self.program.spec(slice.tensor).name
    }

    /// Runs on every f32 device and compares with f64 on the CPU.
    pub fn check(&self, tolerance: f64) {
        let expected = self.run(&Device::cpu_f64());
        for device in devices() {
            for ((name, got), (_, expected)) in self.run(&device).iter().zip(&expected) {
                if let Err(mismatch) = compare(name, got, expected, tolerance) {
                    panic!("on {device}: {mismatch}");
                }
            }
        }
    }

    /// Every device must give exactly these numbers, f64's rounded to f32, as the only output.
    pub fn check_values(&self, expected: &[f64]) {
        for device in every_device() {
            let (name, got) = self.run(&device).remove(0);
            let got: Vec<f32> = got.iter().map(|value| *value as f32).collect();
            let expected: Vec<f32> = expected.iter().map(|value| *value as f32).collect();
            assert_eq!(got, expected, "{name} on {device}");
        }
    }
}
