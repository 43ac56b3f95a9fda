//! A graph's nodes as steps that can be joined and reordered.

use super::Request;
use crate::graph::{Argument, Graph, Op, Var};
use std::collections::HashMap;

/// A node, or several that were joined.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) inputs: Vec<Var>,
    pub(super) outputs: Vec<Var>,
    /// A value that a product is added to, in its place.
    pub(super) onto: Option<Var>,
    /// Its place in the graph.
    pub(super) rank: usize,
}

impl Step {
    /// Whether it draws random numbers.
    pub(super) fn is_random(&self) -> bool {
        match &self.op {
            Op::Pointwise(of) => {
                let random = |argument: &Argument| matches!(argument, Argument::Random { .. });
                of.arguments.iter().any(random)
            }
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
pub(super) fn needed(graph: &Graph, request: &Request<'_>) -> Vec<Step> {
    let mut needed = vec![false; graph.nodes.len()];
    let stored = request.stores.iter().map(|(var, _)| var);
    for var in stored.chain(&request.fetches) {
        needed[var.node] = true;
    }
    for node in (0..graph.nodes.len()).rev() {
        if needed[node] {
            for input in &graph.nodes[node].inputs {
                needed[input.node] = true;
            }
        }
    }
    let step = |node: usize| Step {
        op: graph.nodes[node].op.clone(),
        inputs: graph.nodes[node].inputs.clone(),
        outputs: (0..graph.nodes[node].outputs.len())
            .map(|output| Var { node, output })
            .collect(),
        onto: None,
        rank: node,
    };
    (0..graph.nodes.len())
        .filter(|node| needed[*node])
        .map(step)
        .collect()
}

/// How often steps use each value, and requests do.
pub(super) fn uses(steps: &[Step], request: &Request<'_>) -> HashMap<Var, usize> {
    let mut uses = HashMap::new();
    let stored = request.stores.iter().map(|(var, _)| *var);
    let asked = stored.chain(request.fetches.iter().copied());
    for var in steps.iter().flat_map(Step::needs).chain(asked) {
        *uses.entry(var).or_insert(0) += 1;
    }
    uses
}

/// The steps, each after what it needs, otherwise as they were in the graph.
pub(super) fn ordered(mut steps: Vec<Step>) -> Vec<Step> {
    steps.sort_by_key(|step| step.rank);
    let mut of: HashMap<Var, usize> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        step.outputs
            .iter()
            .for_each(|var| _ = of.insert(*var, index));
    }
    // Depth first, without recursion, as graphs may be deep.
    let mut order = vec![];
    let mut state = vec![0_u8; steps.len()];
    for root in 0..steps.len() {
        let mut stack = vec![root];
        while let Some(index) = stack.last().copied() {
            match state[index] {
                0 => {
                    state[index] = 1;
                    let needs = steps[index].needs().map(|var| of[&var]);
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
    let mut steps: Vec<_> = steps.into_iter().map(Some).collect();
    let taken = order.into_iter().filter_map(|index| steps[index].take());
    taken.collect()
}
