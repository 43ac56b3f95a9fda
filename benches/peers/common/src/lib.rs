//! What the peers written in Rust share with this crate's own benches.

#[path = "../../../common/policy.rs"]
pub mod policy;
#[path = "../../../common/reference.rs"]
pub mod reference;

use policy::{Timing, Wanted, Workload};
use reference::Reference;

/// A library with one workload.
pub trait Peer {
    /// The output of a forward pass, not yet read.
    type Output;

    /// A layer with given weights, or its own.
    fn new(workload: &Workload, reference: Option<&Reference>) -> Self;
    /// A forward pass, done when it returns.
    fn infer(&self) -> Self::Output;
    /// The elements of an output, `[T, B, H]`.
    fn elements(&self, y: Self::Output) -> Vec<f32>;
    /// A training step, done when it returns.
    fn train(&mut self);
    /// The gradients that a training step would take, by PyTorch's names.
    fn gradients(&self) -> Vec<(String, Vec<f32>)>;
}

/// Compares and times a peer at the workloads of the command line: `[--reference FOLDER] [WORKLOAD [CELL [PHASE]]]`.
pub fn run<P: Peer>(peer: &str, device: &str, cells: &[&str], mut words: Vec<String>) {
    let at = words.iter().position(|word| word == "--reference");
    let at = at.expect("--reference FOLDER: the answers of reference.py");
    words.remove(at);
    let folder = words.remove(at);
    let wanted = Wanted::new(words);
    let workloads = wanted.workloads();
    for workload in workloads.iter().filter(|w| w.is_plain() && cells.contains(&w.cell)) {
        let print = |phase: &str, timing: Timing| {
            println!("{}", policy::line(peer, device, workload, phase, timing));
        };
        if wanted.phase("memory") {
            if device == "gpu" {
                // The process's memory would not be the GPU's.
                continue;
            }
            P::new(&policy::TINY, None).train();
            let (before, _) = policy::resident();
            let mut own = P::new(workload, None);
            let most = || policy::resident().1;
            print("memory", policy::peak_memory(before, most, || own.train()));
            continue;
        }
        let reference = Reference::read(folder.as_ref(), workload);
        let mut own = P::new(workload, Some(&reference));
        if wanted.phase("infer") {
            let (y, first) = policy::first(|| own.infer());
            reference.check(peer, "y", &own.elements(y));
            let infer = || {
                std::hint::black_box(own.infer());
            };
            print("infer", policy::measure(first, infer));
        }
        if wanted.phase("train") {
            let ((), first) = policy::first(|| own.train());
            let fresh = P::new(workload, Some(&reference));
            for (name, values) in fresh.gradients() {
                reference.check(peer, &format!("grad.{name}"), &values);
            }
            print("train", policy::measure(first, || own.train()));
        }
    }
}
