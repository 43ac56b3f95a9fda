//! PyTorch's answers, as `benches/peers/reference.py` writes them, and the comparison that comes before any timing.

use super::policy::Workload;
use safetensors::SafeTensors;
use std::path::Path;

/// The tensors of one workload: `x` `[T, B, I]`, `target` and `y` `[T, B, D·H]`, weights by PyTorch's names (`weight_ih_l0`, …) and their
/// gradients in a training step (`grad.weight_ih_l0`, …). All f32, the answers computed in f64.
pub struct Reference {
    bytes: Vec<u8>,
    title: String,
    weights: Vec<String>,
}

/// A tensor's elements, row-major, and its shape.
pub type Elements = (Vec<f32>, Vec<usize>);

impl Reference {
    /// Reads a workload's file in a folder.
    pub fn read(folder: &Path, workload: &Workload) -> Self {
        let title = format!("{}_{}", workload.name, workload.cell);
        let path = folder.join(format!("{title}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|reason| {
            panic!(
                "{}: {reason}; benches/peers/reference.py writes it",
                path.display()
            )
        });
        Self {
            bytes,
            title,
            weights: workload.weight_names(),
        }
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("it is a safetensors file")
    }

    /// A tensor.
    pub fn get(&self, name: &str) -> Elements {
        let file = self.file();
        let view = file.tensor(name).expect("the file has what peers need");
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("4 bytes"));
        let values = view.data().chunks_exact(4).map(number).collect();
        (values, view.shape().to_vec())
    }

    /// The weights by name.
    pub fn weights(&self) -> Vec<(String, Elements)> {
        let named = |name: &String| (name.clone(), self.get(name));
        self.weights.iter().map(named).collect()
    }

    /// Ends the program where an answer is off: the largest difference over the largest expected magnitude, 1e-4 for `y`, 1e-3 for gradients,
    /// in which the rounding errors of all steps meet.
    pub fn check(&self, peer: &str, name: &str, got: &[f32]) {
        let (expected, _) = self.get(name);
        let difference = relative_difference(got, &expected);
        let tolerance = if name == "y" { 1e-4 } else { 1e-3 };
        let title = &self.title;
        eprintln!("{peer} {title} {name}: relative difference {difference:.1e}");
        if difference > tolerance {
            eprintln!("{peer} {title}: not timed, as {name} is off by more than {tolerance:.0e}");
            std::process::exit(1);
        }
    }
}

/// The largest difference over the largest expected magnitude; infinite where anything is not a number or missing.
fn relative_difference(got: &[f32], expected: &[f32]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let (mut difference, mut magnitude) = (0.0_f64, 0.0_f64);
    for (got, expected) in got.iter().zip(expected) {
        let (got, expected) = (f64::from(*got), f64::from(*expected));
        if !(got - expected).is_finite() {
            return f64::INFINITY;
        }
        difference = difference.max((got - expected).abs());
        magnitude = magnitude.max(expected.abs());
    }
    difference / magnitude.max(f64::MIN_POSITIVE)
}
