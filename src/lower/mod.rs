//! From graphs to programs: what is not needed goes, expressions join, views become aliases both ways, sums of products add up in place.
//!
//! ```text
//! Graph ─▶ steps (steps.rs) ─▶ joined (fuse.rs) ─▶ destinations (place.rs) ─▶ operations (emit.rs, recurrence/)
//! ```

mod budget;
mod emit;
mod fuse;
mod place;
mod recurrence;
mod steps;

pub(crate) use budget::{bytes_of, within_budget};

use crate::error::Result;
use crate::graph::{Dtype, Graph, Var};
use crate::program::{Program, Slice, product};

/// What is asked of a graph.
#[derive(Debug, Default)]
pub(crate) struct Request<'a> {
    /// Where each of the graph's parameters is.
    pub(crate) parameters: &'a [Slice],
    /// How many of those, the first ones, are weights.
    pub(crate) weights: usize,
    /// Values to be written to places of the program's.
    pub(crate) stores: Vec<(Var, Slice)>,
    /// Values to be read after a run.
    pub(crate) fetches: Vec<Var>,
    /// The most steps of a recurrent layer whose values are kept for the backward pass.
    pub(crate) segment: Option<usize>,
    /// Whether all that is fed at a run lies in one tensor, so that it is one write.
    pub(crate) feed_together: bool,
    /// Floats that are fed besides, for the caller's own operations.
    pub(crate) scalars: usize,
}

/// Where a lowered graph's inputs and outputs are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lowered {
    /// For each input of the graph its place; none where nothing reads it.
    pub(crate) inputs: Vec<Option<Slice>>,
    /// `[4]`, seed and step, where anything is random.
    pub(crate) rng: Option<Slice>,
    /// The caller's own floats.
    pub(crate) scalars: Option<Slice>,
    /// Values to be read, in row-major order.
    pub(crate) fetches: Vec<Slice>,
}

/// Appends a graph's operations to a program.
pub(crate) fn lower(
    graph: &Graph,
    program: &mut Program,
    request: &Request<'_>,
) -> Result<Lowered> {
    let mut steps = steps::needed(graph, request);
    fuse::fuse(graph, &mut steps, request);
    let steps = steps::ordered(steps);
    let (lowered, inputs) = feed(graph, &steps, program, request);
    let mut emitter = emit::Emitter::new(graph, program, request, lowered, &inputs);
    emitter.run(steps)
}

/// What is fed together starts at multiples of this, so that kernels can read four numbers at once.
pub(crate) const FED_ALIGNMENT: usize = 4;

/// Gives what is fed its places. Returns those of the inputs that are read, by their value.
fn feed(
    graph: &Graph,
    steps: &[steps::Step],
    program: &mut Program,
    request: &Request<'_>,
) -> (Lowered, Vec<(Var, Slice)>) {
    use crate::graph::Op;
    let mut used: Vec<(usize, Var)> = vec![];
    for step in steps {
        if let Op::Input(slot) = step.op {
            used.push((slot, step.outputs[0]));
        }
    }
    used.sort_unstable();
    let random = steps.iter().any(|step| step.is_random());
    let small = |var: &Var| graph.ty(*var).dtype == Dtype::Index || request.feed_together;
    let together: Vec<_> = used.iter().filter(|(_, var)| small(var)).collect();
    let rng_len = if random { crate::philox::RNG_LEN } else { 0 };
    let lens = together.iter().map(|(_, var)| graph.ty(*var).len());
    let lens = [rng_len, request.scalars].into_iter().chain(lens);
    let len = lens.map(|len| len.next_multiple_of(FED_ALIGNMENT)).sum();
    let mut lowered = Lowered {
        inputs: vec![None; graph.inputs()],
        ..Lowered::default()
    };
    let mut places = vec![];
    if len > 0 {
        let all = program.tensor("what is fed", &[len]);
        let mut at = 0;
        let mut take = |len: usize| {
            let slice = all.part(at, len);
            at += len.next_multiple_of(FED_ALIGNMENT);
            slice
        };
        lowered.rng = random.then(|| take(rng_len));
        lowered.scalars = (request.scalars > 0).then(|| take(request.scalars));
        for (slot, var) in together {
            let slice = take(graph.ty(*var).len());
            lowered.inputs[*slot] = Some(slice);
            places.push((*var, slice));
        }
    }
    for (slot, var) in used.iter().filter(|(_, var)| !small(var)) {
        let shape = graph.shape(*var);
        debug_assert!(product(shape) > 0);
        let slice = program.tensor(graph.input_name(*slot), shape);
        lowered.inputs[*slot] = Some(slice);
        places.push((*var, slice));
    }
    (lowered, places)
}
