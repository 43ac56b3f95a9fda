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
            (count - more..count)
                .map(|index| tape.operand(index))
                .collect()
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
        let seeds: Vec<_> = after
            .iter()
            .zip(&d_after)
            .map(|(y, d)| (y.id(), *d))
            .collect();
        let by_state = tape.adjoints(&seeds);
        let by_inner = tape.adjoints(
            &inner
                .map(|v| (v.id(), d_inner))
                .into_iter()
                .collect::<Vec<_>>(),
        );
        let arguments = || x.iter().chain(&r).chain(&before);
        let mut gradients: Vec<_> = arguments()
            .chain(&diagonal)
            .map(|argument| by_state.of(argument.id()).unwrap_or(zero))
            .collect();
        let own = gradients.len();
        gradients.extend(arguments().map(|argument| by_inner.of(argument.id()).unwrap_or(zero)));
        let mut backward = tape.finish(&gradients, &[]);

        let saved = kept(
            &backward,
            gates,
            2 * gates + diagonals..2 * gates + diagonals + states,
        );
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
            Body {
                elements,
                ..backward.clone()
            }
            .pruned()
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
        let pair = Kept(operand % gates, Some(operand % gates + gates));
        let Some(id) = nodes
            .iter()
            .position(|node| *node == Node::Operand(operand))
        else {
            continue;
        };
        // Read by more than the sum?
        let mut alone = operand >= 2 * gates || backward.elements.contains(&id);
        for node in nodes
            .iter()
            .filter(|node| sum_of(nodes, node) != Some(pair))
        {
            node.for_each_source(|source| alone |= source == id);
        }
        let value = if alone { Kept(operand, None) } else { pair };
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
        let Forward {
            x,
            r,
            diagonal,
            state,
            saved,
        } = unit;
        let of = [x, r, diagonal];
        let mut before = [x[0]; MAX_COUNT];
        before[..self.states].copy_from_slice(state);
        self.forward.evaluate(
            x[0],
            |operand| pick(of, &before, operand),
            |index, value| match index.checked_sub(self.states) {
                Some(index) => saved[index] = value,
                None => state[index] = value,
            },
        );
    }

    #[inline(always)]
    fn backward<N: Lanes>(&self, unit: Backward<'_, N>) {
        let Backward {
            saved,
            diagonal,
            d_state,
            d_x,
            d_r,
            d_diagonal,
        } = unit;
        let mut d_after = [saved[0]; MAX_COUNT];
        d_after[..self.states].copy_from_slice(d_state);
        self.backward.evaluate(
            saved[0],
            |operand| pick([saved, diagonal, &[]], &d_after, operand),
            |index, value| {
                let parts = [&mut *d_x, d_r, d_state, d_diagonal];
                put(parts, index, |place| *place = value);
            },
        );
    }

    #[inline(always)]
    fn inner<N: Lanes>(&self, unit: Inner<'_, N>) -> N {
        let Inner { x, r, state } = unit;
        let mut v = x[0].constant(f64::NAN);
        if let Some(inner) = &self.inner {
            // There is no r of the late gates yet, and diagonal weights are not given.
            let mut all = [v; MAX_COUNT];
            all[..r.len()].copy_from_slice(r);
            let of = [x, &all[..self.gates], &[]];
            let skip = self.diagonals;
            let operand = |operand: usize| {
                let states = operand >= 2 * self.gates;
                pick(of, state, if states { operand - skip } else { operand })
            };
            inner.evaluate(x[0], operand, |_, value| v = value);
        }
        v
    }

    #[inline(always)]
    fn inner_backward<N: Lanes>(&self, unit: InnerBackward<'_, N>) {
        let InnerBackward {
            saved,
            d_inner,
            d_state,
            d_x,
            d_r,
        } = unit;
        let last = self.saved + self.diagonals + self.states;
        self.inner_backward.evaluate(
            d_inner,
            |operand| {
                if operand == last {
                    d_inner
                } else {
                    saved[operand]
                }
            },
            |index, value| {
                put([&mut *d_x, d_r, d_state, &mut []], index, |place| {
                    *place += value
                })
            },
        );
    }
}

/// The n-th of some numbers that lie in parts.
#[inline(always)]
fn pick<N: Copy>(parts: [&[N]; 3], last: &[N], mut index: usize) -> N {
    for part in parts {
        if index < part.len() {
            return part[index];
        }
        index -= part.len();
    }
    last[index]
}

/// Changes the n-th of some numbers that lie in parts.
#[inline(always)]
fn put<N>(parts: [&mut [N]; 4], mut index: usize, change: impl FnOnce(&mut N)) {
    for part in parts {
        if index < part.len() {
            return change(&mut part[index]);
        }
        index -= part.len();
    }
}
