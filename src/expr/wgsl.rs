//! Expressions written out as WGSL.

use super::node::{Body, Function, Node, NodeId, Operator, Relation};
use std::fmt::Write;

/// Writes the steps of a body as straight-line `let`s, each once.
pub(crate) struct Printer<'a> {
    body: &'a Body,
    /// The nodes that have a name already.
    known: Vec<bool>,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(body: &'a Body) -> Self {
        Self {
            body,
            known: vec![false; body.nodes.len()],
        }
    }

    /// The name of a node's value.
    pub(crate) fn name(id: NodeId) -> String {
        format!("v{id}")
    }

    /// Forgets the names, at the start of another scope.
    pub(crate) fn forget(&mut self) {
        self.known.fill(false);
    }

    /// Writes what some nodes need. `leaf` gives the text of a node that reads no other.
    pub(crate) fn print(
        &mut self,
        text: &mut String,
        indent: &str,
        roots: impl IntoIterator<Item = NodeId>,
        leaf: impl Fn(&Node) -> String,
    ) {
        for id in self.body.needed(roots) {
            if !std::mem::replace(&mut self.known[id], true) {
                let value = expression(&self.body.nodes[id], &leaf);
                writeln!(text, "{indent}let {} = {value};", Self::name(id)).ok();
            }
        }
    }
}

/// A number as WGSL has it, by its bits where it is infinite or NaN, which WGSL has no literals of.
pub(crate) fn literal(value: f64) -> String {
    let single = value as f32;
    match single.is_finite() {
        true => format!("{single:?}f"),
        false => format!("of_bits({:#x}u)", single.to_bits()),
    }
}

fn expression(node: &Node, leaf: &impl Fn(&Node) -> String) -> String {
    let name = |id: &NodeId| Printer::name(*id);
    match node {
        Node::Constant(bits) => literal(f64::from_bits(*bits)),
        Node::Apply(function, x) => {
            let x = name(x);
            let function = match function {
                Function::Sqrt => return format!("keep_nan({x}, sqrt({x}))"),
                Function::Exp => return format!("keep_nan({x}, exp({x}))"),
                Function::Ln => return format!("keep_nan({x}, log({x}))"),
                Function::Neg => "-",
                Function::Abs => "abs",
                Function::ExpM1 => "exp_m1",
                Function::Softplus => "softplus",
                Function::Sigmoid => "sigmoid",
                Function::Tanh => "tanh_exact",
                Function::Erf => "erf",
                Function::Stored => "stored",
                Function::Finite => "finite",
            };
            format!("{function}({x})")
        }
        Node::Combine(operator, [a, b]) => {
            let operator = match operator {
                Operator::Add => "+",
                Operator::Sub => "-",
                Operator::Mul => "*",
                Operator::Div => "/",
            };
            format!("{} {operator} {}", name(a), name(b))
        }
        // A NaN is not at most 0, as everywhere else.
        Node::WherePositive([x, yes, no]) => {
            let is_not = format!("at_most_zero({})", name(x));
            format!("select({}, {}, {is_not})", name(yes), name(no))
        }
        Node::Where(relation, [a, b, yes, no]) => {
            let relation = match relation {
                Relation::Less => "<",
                Relation::Equal => "==",
            };
            let holds = format!("{} {relation} {}", name(a), name(b));
            format!("select({}, {}, {holds})", name(no), name(yes))
        }
        Node::Float(whole) => format!("f32({})", name(whole)),
        Node::Operand(_)
        | Node::WholeOperand(_)
        | Node::Statistic(_)
        | Node::Number(_)
        | Node::Whole(_) => leaf(node),
    }
}
