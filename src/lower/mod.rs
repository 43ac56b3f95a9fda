//! From graphs to programs: what is not needed goes, expressions join, views become aliases both ways, sums of products add up in place.
//!
//! ```text
//! Graph ─▶ tasks (tasks.rs) ─▶ joined (fuse.rs, sums.rs) ─▶ placed (place.rs) ─▶ operations (emit.rs, recurrence/)
//! ```

mod budget;
mod emit;
mod fuse;
mod place;
mod recurrence;
mod sums;
mod tasks;

pub(crate) use budget::{bytes_of, is_within_limits, within_budget};

use crate::elements::count_elements;
use crate::error::Result;
use crate::graph::{Dtype, Graph, Op, Recurrence, Var};
use crate::philox::RNG_LEN;
use crate::program::{Program, Slice, View};
use recurrence::Forward;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tasks::Task;

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
    /// Where all that is fed at a run is to lie in one tensor, so that it is one write, the most elements of it; where it has more, floats are apart.
    pub(crate) feed_together: Option<usize>,
    /// Floats that are fed besides, for the caller's own operations.
    pub(crate) scalars: usize,
}

impl Request<'_> {
    /// The values that are asked for.
    fn asked(&self) -> impl Iterator<Item = Var> {
        let stored = self.stores.iter().map(|(var, _)| *var);
        stored.chain(self.fetches.iter().copied())
    }
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
    let mut tasks = tasks::needed(graph, request);
    // Behind this sizes are multiplied freely.
    for var in tasks.iter().flat_map(|task| &task.outputs) {
        count_elements("a value", graph.shape(*var))?;
    }
    fuse::fuse(graph, &mut tasks, request);
    sums::onto_sums(graph, &mut tasks, request);
    let tasks = tasks::ordered(tasks);
    let mut lowering = Lowering::new(graph, program, request, &tasks);
    lowering.feed();
    lowering.choose_places();
    Ok(lowering.emit())
}

/// Floats that are fed together start at multiples of this, so that kernels can read four numbers at once.
pub(crate) const FED_ALIGNMENT: usize = 4;

/// A graph on its way into a program.
struct Lowering<'a> {
    graph: &'a Graph,
    program: &'a mut Program,
    request: &'a Request<'a>,
    tasks: &'a [Task],
    lowered: Lowered,
    /// How often each value is used.
    uses: HashMap<Var, usize>,
    producers: HashMap<Var, &'a Task>,
    readers: HashMap<Var, Vec<&'a Task>>,
    /// Where values are, or where they are to be put once they are computed.
    places: HashMap<Var, View>,
    /// Values that change where they lie, so that nobody else may read them there.
    changing: HashSet<Var>,
    /// The forward passes of layers, by their node.
    layers: HashMap<usize, Forward>,
    /// The nodes of the layers that have a gradient.
    trained: Vec<usize>,
    /// For each gradient of a layer, by its node, the gradients of the states.
    d_states: HashMap<usize, Slice>,
}

impl<'a> Lowering<'a> {
    fn new(
        graph: &'a Graph,
        program: &'a mut Program,
        request: &'a Request<'a>,
        tasks: &'a [Task],
    ) -> Self {
        let mut lowering = Self {
            graph,
            program,
            request,
            tasks,
            lowered: Lowered::default(),
            uses: tasks::uses(tasks, request),
            producers: HashMap::new(),
            readers: HashMap::new(),
            places: HashMap::new(),
            changing: HashSet::new(),
            layers: HashMap::new(),
            trained: vec![],
            d_states: HashMap::new(),
        };
        for task in tasks {
            let outputs = task.outputs.iter().map(|var| (*var, task));
            lowering.producers.extend(outputs);
            for var in lowering.read(task) {
                lowering.readers.entry(var).or_default().push(task);
            }
            if let Op::RecurrenceGradient { of, .. } = task.op {
                lowering.trained.push(of);
            }
        }
        lowering
    }

    /// What a task reads, but for what it adds to in place.
    fn read(&self, task: &'a Task) -> impl Iterator<Item = Var> + use<'a> {
        let of_layer: &[Var] = match task.op {
            Op::RecurrenceGradient { of, .. } => &self.graph.nodes[of].inputs,
            _ => &[],
        };
        task.inputs.iter().chain(of_layer).copied()
    }

    /// The layer at a node.
    fn layer(&self, node: usize) -> &'a Arc<Recurrence> {
        match &self.graph.nodes[node].op {
            Op::Recurrence(layer) => layer,
            _ => unreachable!("it is a layer"),
        }
    }

    /// The place of a value: the one chosen for it, or a new one.
    fn place(&mut self, var: Var, name: &str) -> View {
        let shape = self.graph.shape(var);
        let new = || View::whole(self.program.temporary(name, shape), shape);
        self.places.entry(var).or_insert_with(new).clone()
    }

    /// Gives what is fed its place.
    fn feed(&mut self) {
        let graph = self.graph;
        let mut fed: Vec<(usize, Var)> = vec![];
        for task in self.tasks {
            if let Op::Input(slot) = task.op {
                fed.push((slot, task.outputs[0]));
            }
        }
        fed.sort_unstable();
        let is_index = |var: Var| graph.ty(var).dtype == Dtype::Index;
        let aligned = |(_, var): &(usize, Var)| graph.ty(*var).len() + FED_ALIGNMENT;
        let all = fed
            .iter()
            .map(aligned)
            .fold(RNG_LEN + self.request.scalars, usize::saturating_add);
        let feed_together = self.request.feed_together.is_some_and(|most| all <= most);
        let small = |var: Var| is_index(var) || feed_together;
        let (mut together, apart): (Vec<_>, Vec<_>) =
            fed.into_iter().partition(|(_, var)| small(*var));
        // What is aligned goes first, so that the rest leaves no gaps.
        together.sort_by_key(|(_, var)| is_index(*var));
        let random = self.tasks.iter().any(Task::is_random);
        let mut len = 0_usize;
        let mut take = |count: usize, alignment: usize| {
            let start = len.next_multiple_of(alignment);
            len = start + count;
            start
        };
        let rng = random.then(|| take(RNG_LEN, FED_ALIGNMENT));
        let place = |(_, var): &(usize, Var)| {
            let alignment = if is_index(*var) { 1 } else { FED_ALIGNMENT };
            take(graph.ty(*var).len(), alignment)
        };
        let starts: Vec<_> = together.iter().map(place).collect();
        let scalars = self.request.scalars;
        let of_scalars = (scalars > 0).then(|| take(scalars, 1));
        let mut slices = vec![];
        if len > 0 {
            let all = self.program.tensor("what is fed", &[len]);
            self.lowered.rng = rng.map(|start| all.part(start, RNG_LEN));
            self.lowered.scalars = of_scalars.map(|start| all.part(start, scalars));
            let parts = together.iter().zip(starts);
            slices.extend(parts.map(|((_, var), start)| all.part(start, graph.ty(*var).len())));
        }
        for (slot, var) in &apart {
            let name = graph.input_name(*slot);
            slices.push(self.program.tensor(name, graph.shape(*var)));
        }
        self.lowered.inputs = vec![None; graph.inputs()];
        for ((slot, var), slice) in together.into_iter().chain(apart).zip(slices) {
            self.lowered.inputs[slot] = Some(slice);
            let place = View::whole(slice, graph.shape(var));
            self.places.insert(var, place);
        }
    }
}
