//! Cells whose backward functions are derived from their forward ones.

use super::{Backward, Cell, Forward, Inner, InnerBackward, Lanes, MAX_COUNT, WgslSource};
use crate::expr::{Body, Expr, Node, Operator, Tape};

/// A cell recorded from its forward functions. It saves what the derivatives read: arguments and
/// old states, and x + r in one where they are read as a sum alone.
#[derive(Clone, Debug)]
pub(crate) struct Derived {
    name: &'static str,
    gates: usize,
    early_gates: usize,
    states: usize,
    diagonals: usize,
    saved: usize,
    shared_gradient: bool,
    /// Computes the new states and what is saved, of x, r, diagonal weights and old states.
    forward: Body,
    /// Computes v, the late gates' input, of x, r, diagonal weights and old states.
    inner: Option<Body>,
    /// Computes the gradients of x, r, old states and diagonal weights, of what is saved, diagonal
    /// weights and the gradients of the new states.
    backward: Body,
    /// Computes what is added to the gradients of x, r and old states, of what is saved and, as the
    /// last operand, the gradient of v.
    inner_backward: Body,
}

impl Derived {
    pub(crate) fn new(cell: &impl Cell) -> Self {
        let (gates, early_gates) = (cell.gates(), cell.early_gates());
        let (states, diagonals) = (cell.states(), cell.diagonals());
        let tape = Tape::new();
        let mut count = 0;
        let mut operands = |more: usize| -> Vec<Expr<'_>> {
            count += more;
            let range = count - more..count;
            range.map(|index| tape.operand(index)).collect()
        };
        let (x, r) = (operands(gates), operands(gates));
        let (diagonal, before) = (operands(diagonals), operands(states));
        let (d_after, d_inner) = (operands(states), operands(1)[0]);
        let zero = tape.constant(0.0);
        let mut after = before.clone();
        cell.forward(Forward {
            x: &x,
            r: &r,
            diagonal: &diagonal,
            state: &mut after,
            // A cell that saves nothing may still write some.
            saved: &mut [zero; MAX_COUNT],
        });
        let inner = (early_gates < gates).then(|| {
            let (r, state) = (&r[..early_gates], &before[..]);
            cell.inner(Inner { x: &x, r, state })
        });
        let seeds: Vec<_> = (after.iter().zip(&d_after))
            .map(|(y, d)| (y.id(), *d))
            .collect();
        let by_state = tape.adjoints(&seeds);
        let seed = inner.map(|v| (v.id(), d_inner));
        let by_inner = tape.adjoints(seed.as_slice());
        let arguments = [&x[..], &r, &before, &diagonal].concat();
        let own = arguments.len();
        let of_inner = arguments[..own - diagonals].iter();
        let gradients: Vec<_> = (arguments.iter().map(|argument| by_state.of(argument.id())))
            .chain(of_inner.map(|argument| by_inner.of(argument.id())))
            .map(|gradient| gradient.unwrap_or(zero))
            .collect();
        let mut backward = tape.finish(&gradients, &[]);

        let first = 2 * gates + diagonals;
        let saved = kept(&backward, gates, first..first + states);
        let slots = saved.len();
        rename(&mut backward.nodes, &saved, 2 * gates, diagonals, states);
        let saved: Vec<_> = (saved.iter())
            .map(|Kept(first, second)| {
                let first = tape.operand(*first);
                second.map_or(first, |second| first + tape.operand(second))
            })
            .collect();
        let d_x_is_d_r = |first: usize| {
            let of = &backward.elements[first..];
            of[..gates] == of[gates..2 * gates]
        };
        let part = |range: std::ops::Range<usize>| {
            let elements = backward.elements[range].to_vec();
            let whole = backward.clone();
            Body { elements, ..whole }.pruned()
        };
        Self {
            name: cell.name(),
            gates,
            early_gates,
            states,
            diagonals,
            saved: slots,
            shared_gradient: d_x_is_d_r(0) && d_x_is_d_r(own),
            forward: tape.finish(&[after, saved].concat(), &[]),
            inner: inner.map(|v| tape.finish(&[v], &[])),
            backward: part(0..own),
            inner_backward: part(own..backward.elements.len()),
        }
    }
}

/// A value that is saved: an operand of the forward function, or the sum of two.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept(usize, Option<usize>);

/// The operands that two nodes of a sum are.
fn sum_of(nodes: &[Node], node: &Node) -> Option<Kept> {
    match node {
        Node::Combine(Operator::Add, [a, b]) => match (nodes[*a], nodes[*b]) {
            (Node::Operand(a), Node::Operand(b)) => Some(Kept(a.min(b), Some(a.max(b)))),
            _ => None,
        },
        _ => None,
    }
}

/// What derivatives read of x, r and the old `states`; at least one value.
fn kept(backward: &Body, gates: usize, states: std::ops::Range<usize>) -> Vec<Kept> {
    let nodes = &backward.nodes;
    let mut kept = vec![];
    for operand in (0..2 * gates).chain(states) {
        let Some(id) = nodes
            .iter()
            .position(|node| *node == Node::Operand(operand))
        else {
            continue;
        };
        // x + r of a gate, where nothing else reads its operands.
        let pair =
            (operand < 2 * gates).then(|| Kept(operand % gates, Some(operand % gates + gates)));
        let mut alone = backward.elements.contains(&id);
        for node in nodes
            .iter()
            .filter(|node| pair.is_none() || sum_of(nodes, node) != pair)
        {
            node.for_each_source(|source| alone |= source == id);
        }
        let value = pair.filter(|_| !alone).unwrap_or(Kept(operand, None));
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    if kept.is_empty() {
        kept.push(Kept(0, None));
    }
    kept
}

/// Makes what is saved the first operands, before those of the backward functions. An argument that
/// is read as a sum alone keeps its name, as nothing reads it any more.
fn rename(nodes: &mut [Node], kept: &[Kept], arguments: usize, diagonals: usize, states: usize) {
    let before: Vec<Node> = nodes.to_vec();
    for node in nodes {
        let value = match *node {
            Node::Operand(operand) => Some(Kept(operand, None)),
            other => sum_of(&before, &other),
        };
        let slot = value.and_then(|value| kept.iter().position(|known| *known == value));
        match (slot, *node) {
            (Some(slot), _) => *node = Node::Operand(slot),
            (None, Node::Operand(operand)) if operand >= arguments => {
                let index = operand - arguments;
                // Old states that are read are saved.
                let skipped = if index < diagonals { 0 } else { states };
                *node = Node::Operand(kept.len() + index - skipped);
            }
            _ => {}
        }
    }
}

impl Cell for Derived {
    fn name(&self) -> &'static str {
        self.name
    }
    fn gates(&self) -> usize {
        self.gates
    }
    fn states(&self) -> usize {
        self.states
    }
    fn saved(&self) -> usize {
        self.saved
    }
    fn diagonals(&self) -> usize {
        self.diagonals
    }
    fn early_gates(&self) -> usize {
        self.early_gates
    }
    fn shared_gradient(&self) -> bool {
        self.shared_gradient
    }
    fn wgsl(&self) -> Option<WgslSource> {
        None
    }

    #[inline(always)]
    fn forward<N: Lanes>(&self, unit: Forward<'_, N>) {
        let operands = joined(unit.x[0], [unit.x, unit.r, unit.diagonal, unit.state]);
        self.forward.evaluate(
            unit.x[0],
            |operand| operands[operand],
            |index, value| *nth([unit.state, unit.saved, &mut [], &mut []], index) = value,
        );
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let like = unit.saved[0];
        let operands = joined(like, [unit.saved, unit.diagonal, unit.d_state, &[]]);
        let put = |index, value| {
            *nth([unit.d_x, unit.d_r, unit.d_state, unit.d_diagonal], index) = value;
        };
        self.backward
            .evaluate(like, |operand| operands[operand], put);
    }

    #[inline(always)]
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        let mut v = unit.x[0].constant(f64::NAN);
        // There is no r of the late gates yet, and diagonal weights are not given.
        let unknown = [v; 2 * MAX_COUNT];
        let unknown = &unknown[..self.gates - self.early_gates + self.diagonals];
        let operands = joined(v, [unit.x, unit.r, unknown, unit.state]);
        if let Some(inner) = &self.inner {
            inner.evaluate(v, |operand| operands[operand], |_, value| v = value);
        }
        v
    }

    #[inline(always)]
    fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
        let last = self.saved + self.diagonals + self.states;
        self.inner_backward.evaluate(
            unit.d_inner,
            |operand| match operand {
                operand if operand == last => unit.d_inner,
                operand => unit.saved[operand],
            },
            |index, value| *nth([unit.d_x, unit.d_r, unit.d_state, &mut []], index) += value,
        );
    }
}

/// Some numbers that lie in parts, one after the other.
#[inline(always)]
fn joined<N: Copy>(filler: N, parts: [&[N]; 4]) -> [N; 4 * MAX_COUNT] {
    let mut all = [filler; 4 * MAX_COUNT];
    let mut first = 0;
    for part in parts {
        all[first..first + part.len()].copy_from_slice(part);
        first += part.len();
    }
    all
}

/// The n-th of some numbers that lie in parts.
#[inline(always)]
fn nth<N>(parts: [&mut [N]; 4], mut index: usize) -> &mut N {
    for part in parts {
        if index < part.len() {
            return &mut part[index];
        }
        index -= part.len();
    }
    unreachable!("a recording has as many values as the parts")
}
