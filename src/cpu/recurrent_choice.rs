//! How threads take the steps of a recurrent layer: guessed from sizes and caches, and measured at the first use of a class of
//! shapes. The numbers do not depend on it: all ways add the same products in the same order.

use super::buffer::Buffer;
use super::memory::{LockOrder, Memory};
use crate::program::{RecurrentOp, RecurrentOperands, TrialProgram};
use crate::rows::{RowScalar, STEP_ROWS};
use crate::tuning::{Choice, Choices, Effort, Measured, Measuring, Tuner};
use crate::{caches, threads};
use parking_lot::Mutex;
use smallvec::{SmallVec, smallvec};
use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// What threads share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Share {
    /// Each walks the whole sequence of some rows.
    Rows,
    /// One walks, and all compute some columns of each of its products.
    Columns,
}

/// A way to take the steps of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// Threads, of all directions together.
    pub(super) threads: usize,
    pub(super) share: Share,
    /// Whether a cell takes each unit's product together with its step.
    pub(super) together: bool,
}

/// Ways to choose from.
type Ways = SmallVec<[Way; 4]>;

impl Choice for Way {
    const FAMILY: &'static str = "steps";
    fn name(self) -> String {
        let share = match self.share {
            Share::Rows => "rows",
            Share::Columns => "columns",
        };
        let together = if self.together { "together" } else { "apart" };
        format!("{} {share} {together}", self.threads)
    }
}

/// What a gate of a cell takes of a thread's time, as so many operations of a product.
const CELL: usize = 64;

/// Floating-point operations of a step from which on a further thread pays for its columns: some times what handing them over
/// takes.
const STEP: usize = 1 << 18;

/// Floating-point operations of a sequence from which on a further thread pays for columns, as it must be woken for it.
const SEQUENCE: usize = 1 << 25;

/// Rows of a thread up to which columns are the better guess: with more, products are no longer bound by loading weights.
const FEW_ROWS: usize = 8;

/// Rows of a team, at most: its input and results are copied at every step.
const TEAM_ROWS: usize = 64;

/// Floating-point operations from which on ways are measured: others are over before a difference would count.
const WORTH_MEASURING: usize = 1 << 22;

/// A layer, as far as the choice depends on it.
struct Sizes {
    directions: usize,
    steps: usize,
    batch: usize,
    /// Operations of a direction's step, and of all.
    step: usize,
    work: usize,
    /// Bytes of a direction's R.
    bytes: usize,
    /// Whether the cell can take its product together with its step.
    takes_steps: bool,
    /// Whether threads can share the columns.
    takes_teams: bool,
}

impl Sizes {
    fn of<F: RowScalar>(of: &RecurrentOperands<'_>, backward: bool) -> Self {
        let (shape, gates) = (of.shape, of.cell.gates());
        let weights = gates * shape.hidden * shape.output;
        // With a mask or a projection the product is not one of h₋, or h not the cell's.
        let plain = of.mask.is_none() && of.weights.weight_hr.is_none();
        Self {
            directions: shape.directions,
            steps: shape.steps,
            batch: shape.batch,
            step: shape.batch.saturating_mul(2 * weights),
            work: (shape.rows() * gates).saturating_mul(shape.hidden * (2 * shape.output + CELL)),
            bytes: weights * size_of::<F>(),
            takes_steps: plain && !backward && of.cell.rows::<F>().takes_steps().is_some(),
            // One product gives all gates.
            takes_teams: of.mask.is_none() && !of.cell.has_late_gates(),
        }
    }

    /// The threads that may be worth their waking.
    fn threads(&self) -> usize {
        threads::split(self.work, usize::MAX)
    }

    fn by_rows(&self, threads: usize, together: bool) -> Way {
        let tasks = threads.min(self.directions * self.batch).max(1);
        let rows = self.batch.div_ceil(tasks.div_ceil(self.directions));
        Way {
            threads: tasks,
            share: Share::Rows,
            together: together && self.takes_steps && rows <= STEP_ROWS,
        }
    }

    /// Threads that share columns, where there are steps enough for more than one.
    fn by_columns(&self) -> Option<Way> {
        let woken = 1 + self.step.saturating_mul(self.steps) / SEQUENCE;
        let most = self.threads() / self.directions;
        let team = most.min(self.step / STEP).min(woken);
        (self.takes_teams && team > 1 && self.batch <= TEAM_ROWS).then_some(Way {
            threads: team * self.directions,
            share: Share::Columns,
            together: false,
        })
    }

    /// The best guess.
    fn guess(&self) -> Way {
        let rows = self.by_rows(self.threads(), true);
        let of_thread = self
            .batch
            .div_ceil(self.threads().div_ceil(self.directions));
        // A thread's near cache holds its columns of R, or a good part of them, where it does not hold R.
        let pays = self.bytes > caches::near() / 2 && of_thread <= FEW_ROWS;
        self.by_columns().filter(|_| pays).unwrap_or(rows)
    }

    /// What is measured, the best guess first.
    fn candidates(&self) -> Ways {
        let threads = self.threads();
        let others = [
            Some(self.by_rows(threads, true)),
            self.by_columns(),
            Some(self.by_rows(threads, false)),
        ];
        let mut candidates = smallvec![self.guess()];
        for other in others.into_iter().flatten() {
            if !candidates.contains(&other) {
                candidates.push(other);
            }
        }
        candidates
    }
}

/// Layers of one class share a choice: a cell's numbers, sizes to a factor of two, the threads, and what there is to choose from.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Class {
    ways: Ways,
    backward: bool,
    /// Whether the pass keeps what a backward pass needs, has a projection, has masks.
    options: [bool; 3],
    /// Gates, states, saved and directions.
    counts: [usize; 4],
    /// The binary logarithms of T (a trial's, where that is less), B, H and P.
    sizes: [u32; 4],
    threads: usize,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pass = if self.backward { "backward" } else { "forward" };
        write!(f, "{pass}")?;
        for (name, has) in ["kept", "projected", "masked"].iter().zip(self.options) {
            write!(
                f,
                "{}",
                if has {
                    format!(" {name}")
                } else {
                    String::new()
                }
            )?;
        }
        for count in self.counts {
            write!(f, " {count}")?;
        }
        for size in self.sizes {
            write!(f, " {size}")?;
        }
        write!(f, " {} threads", self.threads)?;
        for way in &self.ways {
            write!(f, ", {}", way.name())?;
        }
        Ok(())
    }
}

/// Operations of a trial, and steps, but two at least.
const TRIAL: usize = 1 << 26;
const TRIAL_STEPS: usize = 64;

/// Bytes of R up to which a trial is short.
const TRIAL_BYTES: usize = 1 << 24;

/// What a measurement may take in any case, or no other process would get further with a layer that follows others.
const LEAST: Duration = Duration::from_millis(20);

/// Rounds of trials at least, and what part of the guess's time another way must do with.
const ROUNDS: usize = 3;
const GAIN: f64 = 0.95;

impl Effort {
    /// Time for all measurements of a process; one that has begun is finished. No first call is to take longer for it than one notices.
    fn cpu_budget(self) -> Duration {
        match self {
            Self::Full => Duration::from_secs(60),
            Self::Off | Self::Quick => Duration::from_millis(25),
        }
    }

    /// How long one candidate runs.
    fn cpu_span(self) -> Duration {
        Duration::from_millis(if self == Self::Full { 50 } else { 2 })
    }
}

/// Counts the changes of the ways' code after which they are to be measured anew.
const STEPS: usize = 1;

/// What measures on the processor, and what is remembered of it.
struct Processor {
    tuner: Tuner,
    choices: Choices,
    /// Held by who measures: two at once would measure each other.
    measuring: Mutex<()>,
    /// What the tuner chose, to be found without its names.
    chosen: Mutex<HashMap<Class, Way>>,
}

static PROCESSOR: LazyLock<Processor> = LazyLock::new(|| Processor {
    tuner: Tuner::default(),
    choices: Choices::open([
        caches::processor(),
        format!("{} bytes near", caches::near()),
        format!("bptt {} steps {STEPS}", env!("CARGO_PKG_VERSION")),
    ]),
    measuring: Mutex::default(),
    chosen: Mutex::default(),
});

/// The way to take an operation's steps. `run` runs one in some way; it says, too, whether packed weights are kept.
pub(super) fn choose<F: RowScalar, T: RecurrentOp>(
    op: &T,
    run: impl Fn(&T, &Memory<'_, F>, Way, bool),
) -> Way {
    let of = op.operands();
    let sizes = Sizes::of::<F>(&of, T::BACKWARD);
    // The reference is not measured.
    if sizes.work < WORTH_MEASURING || TypeId::of::<F>() != TypeId::of::<f32>() {
        return sizes.guess();
    }
    let candidates = sizes.candidates();
    if candidates.len() < 2 {
        return candidates[0];
    }
    let step = sizes.step.saturating_mul(sizes.directions);
    let most = (TRIAL / step.max(1)).clamp(2, TRIAL_STEPS);
    let shape = of.shape;
    let log = |size: usize| size.max(1).ilog2();
    let class = Class {
        ways: candidates.clone(),
        backward: T::BACKWARD,
        options: [
            op.keeps(),
            of.weights.weight_hr.is_some(),
            of.mask.is_some(),
        ],
        counts: [
            of.cell.gates(),
            of.cell.states(),
            of.cell.saved(),
            shape.directions,
        ],
        sizes: [
            shape.steps.min(most),
            shape.batch,
            shape.hidden,
            shape.output,
        ]
        .map(log),
        threads: threads::count(),
    };
    let Processor {
        tuner,
        choices,
        measuring,
        chosen,
    } = &*PROCESSOR;
    if let Some(way) = chosen.lock().get(&class) {
        return *way;
    }
    // Who computes beside a measurement takes the guess meanwhile.
    let Some(_alone) = measuring.try_lock() else {
        return candidates[0];
    };
    let effort = Effort::from_environment().unwrap_or(Effort::Off);
    let bytes = sizes.bytes.saturating_mul(sizes.directions);
    let small = bytes <= TRIAL_BYTES || effort == Effort::Full;
    let measure = |of: Measuring<'_, Way>| {
        let left = effort.cpu_budget().saturating_sub(of.spent);
        let best = match left.is_zero() {
            true => None,
            false => fastest(op, (most, left, effort.cpu_span()), of.candidates, run),
        };
        Ok(Measured {
            best: best.unwrap_or(of.candidates[0]),
            complete: best.is_some(),
        })
    };
    // Code that is not optimised is another, and takes too long.
    let measure = (small && !cfg!(debug_assertions)).then_some(measure);
    let remembered = (effort, choices);
    let way = tuner.choose(remembered, &class.to_string(), &candidates, measure);
    let way = way.unwrap_or(candidates[0]);
    chosen.lock().insert(class, way);
    way
}

/// The fastest way of a trial of an operation, of so many steps; each is measured for about the span. None where that would take more time
/// than is left.
fn fastest<F: RowScalar, T: RecurrentOp>(
    op: &T,
    (steps, left, span): (usize, Duration, Duration),
    ways: &[Way],
    run: impl Fn(&T, &Memory<'_, F>, Way, bool),
) -> Option<Way> {
    let begin = Instant::now();
    let mut trial = TrialProgram::new(op, steps);
    let op = op.in_trial(&mut trial);
    let specs = trial.program.tensors().iter();
    let buffers: Vec<_> = specs
        .map(|spec| Buffer::new(vec![F::zero(); spec.len()]))
        .collect();
    let order = LockOrder::new(&buffers, &vec![true; buffers.len()]);
    // Nobody else has these: whatever is locked meanwhile, nothing waits.
    let memory = Memory::lock(&buffers, &order);
    let time = |way| {
        let start = Instant::now();
        run(&op, &memory, way, true);
        start.elapsed()
    };
    // The first time of each packs the weights, too.
    time(ways[0]);
    let most = time(ways[0]) * ((ROUNDS + 1) * ways.len()) as u32;
    if begin.elapsed() + most > left.max(LEAST) {
        return None;
    }
    ways[1..].iter().for_each(|way| {
        time(*way);
    });
    // In turns, as a processor's speed changes.
    let mut times = vec![Duration::MAX; ways.len()];
    let start = Instant::now();
    for round in 0.. {
        if round >= ROUNDS && start.elapsed() >= span * ways.len() as u32 {
            break;
        }
        for (way, best) in ways.iter().zip(&mut times) {
            *best = time(*way).min(*best);
        }
    }
    // The guess is left for what is clearly faster alone: two that are as good would take turns.
    let worth = times[0].mul_f64(GAIN);
    let others = ways.iter().zip(times).skip(1);
    let best = others
        .filter(|(_, time)| *time < worth)
        .min_by_key(|(_, time)| *time);
    Some(best.map_or(ways[0], |(way, _)| *way))
}

#[cfg(test)]
mod tests;
