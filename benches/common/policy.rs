//! The workloads and how they are timed: one policy for this crate's benches and for the peers written in Rust;
//! `benches/peers/workloads.py` has it for those in Python.

use std::time::{Duration, Instant};

/// A stack of recurrent layers and its input.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// W1 … W9.
    pub name: &'static str,
    /// rnn, lstm or gru.
    pub cell: &'static str,
    /// I
    pub inputs: usize,
    /// H
    pub hidden: usize,
    /// T
    pub steps: usize,
    /// B
    pub batch: usize,
    /// L
    pub layers: usize,
    /// D
    pub directions: usize,
    /// Whether rows have T, 3T/4, T/2 and T/4 steps in turn.
    pub ragged: bool,
}

impl Workload {
    /// The steps of each row, where they are not all T.
    pub fn lengths(&self) -> Option<Vec<usize>> {
        let length = |row: usize| (self.steps * (4 - row % 4)).div_ceil(4);
        self.ragged.then(|| (0..self.batch).map(length).collect())
    }

    /// D·H, the width of the output.
    pub fn width(&self) -> usize {
        self.directions * self.hidden
    }

    /// One layer in one direction over rows of one length, which every peer has.
    pub fn is_plain(&self) -> bool {
        self.layers == 1 && self.directions == 1 && !self.ragged
    }

    /// The names of the weights, as PyTorch has them.
    pub fn weight_names(&self) -> Vec<String> {
        let mut names = vec![];
        for layer in 0..self.layers {
            for suffix in &["", "_reverse"][..self.directions] {
                let kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
                names.extend(kinds.map(|kind| format!("{kind}_l{layer}{suffix}")));
            }
        }
        names
    }
}

/// What a program's command line asks for: `[WORKLOAD [CELL [PHASE]]]`. Without a phase it is infer and train.
pub struct Wanted {
    words: Vec<String>,
}

impl Wanted {
    /// From the words of the command line that are not options.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        // Cargo calls benches with `--bench`.
        let words = words.into_iter().filter(|word| word != "--bench");
        Self {
            words: words.collect(),
        }
    }

    /// The workloads of `benches/workloads.csv` (name, cell, I, H, T, B, L, D, full or ragged) that are wanted.
    pub fn workloads(&self) -> Vec<Workload> {
        let parse = |line: &'static str| {
            let fields: Vec<&str> = line.split(',').collect();
            let number = |index: usize| fields[index].parse().expect("sizes are numbers");
            Workload {
                name: fields[0],
                cell: fields[1],
                inputs: number(2),
                hidden: number(3),
                steps: number(4),
                batch: number(5),
                layers: number(6),
                directions: number(7),
                ragged: fields[8] == "ragged",
            }
        };
        let all = include_str!("../workloads.csv").lines().map(parse);
        let named = |word: Option<&String>, name| word.is_none_or(|word| word == name);
        all.filter(|w| named(self.words.first(), w.name) && named(self.words.get(1), w.cell))
            .collect()
    }

    /// Whether a phase is wanted: infer, train, or memory, which must be asked for.
    pub fn phase(&self, phase: &str) -> bool {
        self.words
            .get(2)
            .map_or(phase != "memory", |word| word == phase)
    }
}

/// The threads a program is to use.
pub fn threads() -> usize {
    let chosen = std::env::var("RAYON_NUM_THREADS").ok();
    let chosen = chosen.and_then(|number| number.parse().ok());
    chosen.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub runs: usize,
    pub least: f64,
    pub median: f64,
    pub first: f64,
}

fn seconds(variable: &str, default: f64) -> Duration {
    let chosen = std::env::var(variable)
        .ok()
        .and_then(|word| word.parse().ok());
    Duration::from_secs_f64(chosen.unwrap_or(default))
}

/// Times a step whose first call took `first`: warm-up for 0.25 s and 3 calls, then `BUDGET` (2) seconds and at least 3 calls. Warm-up and calls
/// each end once they took `CAP` (60) seconds.
pub fn measure(first: Duration, mut step: impl FnMut()) -> Timing {
    let (budget, cap) = (seconds("BUDGET", 2.0), seconds("CAP", 60.0));
    let mut once = || {
        let start = Instant::now();
        step();
        start.elapsed()
    };
    let (mut warm, mut count) = (first, 1);
    while warm < cap && (count < 3 || (warm < Duration::from_millis(250) && count < 200)) {
        warm += once();
        count += 1;
    }
    let (mut times, mut total) = (vec![], Duration::ZERO);
    while total < cap && (times.len() < 3 || (total < budget && times.len() < 5000)) {
        let time = once();
        times.push(time.as_secs_f64() * 1e3);
        total += time;
    }
    times.sort_by(f64::total_cmp);
    Timing {
        runs: times.len(),
        least: times[0],
        median: times[times.len() / 2],
        first: first.as_secs_f64() * 1e3,
    }
}

/// Times the first call of a step, whose answer is compared before the others.
pub fn first<R>(step: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let answer = step();
    (answer, start.elapsed())
}

/// A line of the results: peer, device, threads, workload, cell, phase, runs; minimum, median and first.
pub fn line(peer: &str, device: &str, workload: &Workload, phase: &str, timing: Timing) -> String {
    let Workload { name, cell, .. } = workload;
    let Timing {
        runs,
        least,
        median,
        first,
    } = timing;
    let threads = threads();
    format!(
        "{peer},{device},{threads},{name},{cell},{phase},{runs},{least:.4},{median:.4},{first:.3}"
    )
}

/// The small workload whose training step brings a library's own fixed memory into being, before memory is measured.
pub const TINY: Workload = Workload {
    name: "tiny",
    cell: "lstm",
    inputs: 3,
    hidden: 5,
    steps: 4,
    batch: 1,
    layers: 1,
    directions: 1,
    ragged: false,
};

/// The resident memory in MiB: now, and the most so far. NaN where the system does not say.
pub fn resident() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let mebibytes = |name| number(name).map_or(f64::NAN, |kibibytes| kibibytes / 1024.0);
    (mebibytes("VmRSS:"), mebibytes("VmHWM:"))
}

/// The peak memory of three training steps in MiB, beyond what there was before, in the form of a timing. `used` gives the peak so far.
pub fn peak_memory(before: f64, used: impl Fn() -> f64, mut step: impl FnMut()) -> Timing {
    step();
    let first = used() - before;
    step();
    step();
    let most = used() - before;
    Timing {
        runs: 3,
        least: most,
        median: most,
        first,
    }
}
