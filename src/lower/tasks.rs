//! A graph's nodes as tasks that can be joined and reordered.

use super::Request;
use crate::graph::{Argument, Graph, Op, PointwiseOp, Var};
use std::collections::HashMap;

/// A node, or several that were joined.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) op: Op,
    pub(super) inputs: Vec<Var>,
    pub(super) outputs: Vec<Var>,
    /// A value that a product is added to, where it lies.
    pub(super) onto: Option<Var>,
    /// The task's place in the graph.
    pub(super) rank: usize,
}

impl Task {
    /// The task's expression, where it is one.
    pub(super) fn pointwise(&self) -> Option<&PointwiseOp> {
        match &self.op {
            Op::Pointwise(op) => Some(op),
            _ => None,
        }
    }

    /// Says whether the task draws random numbers.
    pub(super) fn is_random(&self) -> bool {
        let random = |argument: &Argument| matches!(argument, Argument::Random { .. });
        match &self.op {
            Op::Pointwise(of) => of.arguments.iter().any(random),
            Op::Recurrence(layer) => layer.is_random,
            _ => false,
        }
    }

    /// What it needs to be there before.
    pub(super) fn needs(&self) -> impl Iterator<Item = Var> + '_ {
        self.inputs.iter().copied().chain(self.onto)
    }
}

/// The nodes that what is asked for needs.
pub(super) fn needed(graph: &Graph, request: &Request<'_>) -> Vec<Task> {
    let mut needed = vec![false; graph.nodes.len()];
    for var in request.asked() {
        needed[var.node] = true;
    }
    let mut tasks = vec![];
    for (node, of) in graph.nodes.iter().enumerate().rev() {
        if needed[node] {
            of.inputs.iter().for_each(|input| needed[input.node] = true);
            let outputs = 0..of.outputs.len();
            tasks.push(Task {
                op: of.op.clone(),
                inputs: of.inputs.clone(),
                outputs: outputs.map(|output| Var { node, output }).collect(),
                onto: None,
                rank: node,
            });
        }
    }
    tasks.reverse();
    tasks
}

/// How often tasks use each value, and requests do.
pub(super) fn uses(tasks: &[Task], request: &Request<'_>) -> HashMap<Var, usize> {
    let mut uses = HashMap::new();
    for var in tasks.iter().flat_map(Task::needs).chain(request.asked()) {
        *uses.entry(var).or_insert(0) += 1;
    }
    uses
}

/// The task that gives each value.
pub(super) fn producers(tasks: &[Task]) -> HashMap<Var, usize> {
    let mut producers = HashMap::new();
    for (index, task) in tasks.iter().enumerate() {
        producers.extend(task.outputs.iter().map(|var| (*var, index)));
    }
    producers
}

/// Whether a task needs another, directly or not.
pub(super) fn depends(tasks: &[Task], from: usize, on: usize) -> bool {
    let of = producers(tasks);
    let mut seen = vec![false; tasks.len()];
    let mut stack = vec![from];
    while let Some(index) = stack.pop() {
        for needed in tasks[index].needs().map(|var| of[&var]) {
            if needed == on {
                return true;
            }
            if !std::mem::replace(&mut seen[needed], true) {
                stack.push(needed);
            }
        }
    }
    false
}

/// The tasks, each after what it needs, otherwise as they were in the graph.
pub(super) fn ordered(mut tasks: Vec<Task>) -> Vec<Task> {
    tasks.sort_by_key(|task| task.rank);
    let of = producers(&tasks);
    // Depth first, without recursion, as graphs may be deep.
    let mut order = vec![];
    let mut state = vec![0_u8; tasks.len()];
    for root in 0..tasks.len() {
        let mut stack = vec![root];
        while let Some(index) = stack.last().copied() {
            match state[index] {
                0 => {
                    state[index] = 1;
                    let needs = tasks[index].needs().map(|var| of[&var]);
                    stack.extend(needs.filter(|needed| state[*needed] == 0));
                }
                1 => {
                    state[index] = 2;
                    order.push(index);
                    stack.pop();
                }
                _ => _ = stack.pop(),
            }
        }
    }
    let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
    let taken = order.into_iter().filter_map(|index| tasks[index].take());
    taken.collect()
}
