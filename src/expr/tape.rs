//! Recording of expressions.

use super::lanes::Lanes;
use super::node::{Body, Fold, Function, Node, NodeId, Operator, Relation};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// A recording under way: what is done to its [`Expr`]s becomes a [`Body`].
///
/// The same step is recorded once, and steps on constants are done at once.
#[derive(Debug, Default)]
pub struct Tape {
    recorded: RefCell<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    body: Body,
    known: HashMap<Node, NodeId>,
}

/// The place of a value in a list, to which it is added where it is not there.
pub(crate) fn place_in<T: PartialEq>(list: &mut Vec<T>, value: T) -> usize {
    let known = list.iter().position(|known| *known == value);
    known.unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    })
}

/// A float of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Expr<'t> {
    pub(super) tape: &'t Tape,
    pub(super) id: NodeId,
}

/// A whole number of a recording: an index, a class, a length, a position, a random word.
#[derive(Clone, Copy, Debug)]
pub struct WholeExpr<'t> {
    tape: &'t Tape,
    id: NodeId,
}

impl Tape {
    /// Starts a recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the recording with what is computed for every element and for every row.
    pub fn finish(&self, elements: &[Expr<'_>], results: &[Expr<'_>]) -> Body {
        let ids = |of: &[Expr<'_>]| of.iter().map(|expr| expr.id).collect();
        let body = Body {
            elements: ids(elements),
            results: ids(results),
            ..self.recorded.borrow().body.clone()
        };
        body.pruned()
    }

    /// What is folded over rows so far.
    pub(super) fn statistics(&self) -> Vec<(Fold, NodeId)> {
        self.recorded.borrow().body.statistics.clone()
    }

    pub(super) fn node(&self, id: NodeId) -> Node {
        self.recorded.borrow().body.nodes[id]
    }

    pub(super) fn len(&self) -> usize {
        self.recorded.borrow().body.nodes.len()
    }

    /// The number that a node is, where it is a constant one.
    fn value(&self, id: NodeId) -> Option<f64> {
        let recorded = self.recorded.borrow();
        match recorded.body.nodes[id] {
            Node::Constant(bits) => Some(f64::from_bits(bits)),
            Node::Number(index) => Some(recorded.body.numbers[index]),
            _ => None,
        }
    }

    pub(super) fn push(&self, node: Node) -> NodeId {
        let recorded = &mut *self.recorded.borrow_mut();
        *recorded.known.entry(node).or_insert_with(|| {
            recorded.body.nodes.push(node);
            recorded.body.nodes.len() - 1
        })
    }

    pub(super) fn expr(&self, id: NodeId) -> Expr<'_> {
        Expr { tape: self, id }
    }

    fn record(&self, node: Node) -> Expr<'_> {
        self.expr(self.push(node))
    }

    /// The n-th operand.
    pub fn operand(&self, index: usize) -> Expr<'_> {
        self.record(Node::Operand(index))
    }

    /// The n-th operand, one of whole numbers.
    pub fn whole_operand(&self, index: usize) -> WholeExpr<'_> {
        let id = self.push(Node::WholeOperand(index));
        WholeExpr { tape: self, id }
    }

    /// A number. Those that are common are part of the expression's form, others are given to its kernel with each run.
    pub fn constant(&self, value: f64) -> Expr<'_> {
        if [0.0, 1.0, -1.0, 0.5, 2.0].contains(&value) {
            // Adding 0 makes −0 a 0.
            return self.record(Node::Constant((value + 0.0).to_bits()));
        }
        let index = {
            let numbers = &mut self.recorded.borrow_mut().body.numbers;
            let same = |number: &f64| number.to_bits() == value.to_bits();
            numbers.iter().position(same).unwrap_or_else(|| {
                numbers.push(value);
                numbers.len() - 1
            })
        };
        self.record(Node::Number(index))
    }

    /// A whole number.
    pub fn whole(&self, value: u32) -> WholeExpr<'_> {
        let index = place_in(&mut self.recorded.borrow_mut().body.wholes, value);
        let id = self.push(Node::Whole(index));
        WholeExpr { tape: self, id }
    }

    /// A fold of an expression over the row. The same fold of the same expression is one.
    pub fn statistic(&self, fold: Fold, of: Expr<'_>) -> Expr<'_> {
        let index = place_in(
            &mut self.recorded.borrow_mut().body.statistics,
            (fold, of.id),
        );
        self.record(Node::Statistic(index))
    }

    /// Records another body as part of this one, `operand` giving what its n-th operand is here. Returns its elements and results.
    pub(crate) fn inline<'t>(
        &'t self,
        body: &Body,
        operand: impl Fn(usize) -> Inlined<'t>,
    ) -> (Vec<Expr<'t>>, Vec<Expr<'t>>) {
        let mut at: Vec<NodeId> = vec![];
        let mut statistics: Vec<NodeId> = vec![];
        for node in &body.nodes {
            if let Node::Statistic(index) = node {
                while statistics.len() <= *index {
                    let (fold, of) = body.statistics[statistics.len()];
                    statistics.push(self.statistic(fold, self.expr(at[of])).id);
                }
            }
            at.push(match *node {
                Node::Operand(index) | Node::WholeOperand(index) => match operand(index) {
                    Inlined::Operand(index) => self.push(match node {
                        Node::Operand(_) => Node::Operand(index),
                        _ => Node::WholeOperand(index),
                    }),
                    Inlined::Expr(expr) => expr.id,
                },
                Node::Statistic(index) => statistics[index],
                Node::Number(index) => self.constant(body.numbers[index]).id,
                Node::Whole(index) => self.whole(body.wholes[index]).id,
                // Through the operators, which simplify.
                Node::Combine(operator, [a, b]) => {
                    self.combine(operator, self.expr(at[a]), self.expr(at[b]))
                        .id
                }
                Node::Apply(function, x) => self.apply(function, self.expr(at[x])).id,
                node => self.push(node.with_sources(|source| at[source])),
            });
        }
        for (fold, of) in &body.statistics[statistics.len()..] {
            self.statistic(*fold, self.expr(at[*of]));
        }
        let exprs = |of: &[NodeId]| of.iter().map(|id| self.expr(at[*id])).collect();
        (exprs(&body.elements), exprs(&body.results))
    }

    pub(super) fn combine<'t>(&'t self, operator: Operator, a: Expr<'t>, b: Expr<'t>) -> Expr<'t> {
        use Operator::{Add, Div, Mul, Sub};
        match (operator, self.value(a.id), self.value(b.id)) {
            (Add, Some(x), Some(y)) => self.constant(x + y),
            (Sub, Some(x), Some(y)) => self.constant(x - y),
            (Mul, Some(x), Some(y)) => self.constant(x * y),
            (Div, Some(x), Some(y)) => self.constant(x / y),
            (Mul, Some(1.0), _) | (Add, Some(0.0), _) => b,
            (Mul | Div, _, Some(1.0)) | (Add | Sub, _, Some(0.0)) => a,
            (Mul, Some(-1.0), _) => -b,
            (Mul, _, Some(-1.0)) => -a,
            _ => self.record(Node::Combine(operator, [a.id, b.id])),
        }
    }

    pub(super) fn apply<'t>(&'t self, function: Function, x: Expr<'t>) -> Expr<'t> {
        if let Some(value) = self.value(x.id) {
            return self.constant(function.of(value));
        }
        match (function, self.node(x.id)) {
            (Function::Neg, Node::Apply(Function::Neg, of)) => self.expr(of),
            _ => self.record(Node::Apply(function, x.id)),
        }
    }
}

/// What an operand of an [inlined](Tape::inline) body is.
pub(crate) enum Inlined<'t> {
    /// Another operand.
    Operand(usize),
    /// An expression.
    Expr(Expr<'t>),
}

impl Body {
    /// Without what nothing asks for.
    pub(crate) fn pruned(self) -> Self {
        let mut kept = vec![false; self.nodes.len()];
        let mut statistics = vec![false; self.statistics.len()];
        let roots = self.elements.iter().chain(&self.results);
        roots.for_each(|root| kept[*root] = true);
        // A statistic needs what it folds, which comes before the first that reads it.
        for id in (0..self.nodes.len()).rev() {
            if !kept[id] {
                continue;
            }
            self.nodes[id].for_each_source(|source| kept[source] = true);
            if let Node::Statistic(index) = self.nodes[id] {
                statistics[index] = true;
                kept[self.statistics[index].1] = true;
            }
        }
        let tape = Tape::new();
        let mut at = vec![0; self.nodes.len()];
        let mut statistic_at = vec![0; self.statistics.len()];
        for (id, node) in self.nodes.iter().enumerate().filter(|(id, _)| kept[*id]) {
            at[id] = match *node {
                Node::Number(index) => tape.constant(self.numbers[index]).id,
                Node::Whole(index) => tape.whole(self.wholes[index]).id,
                Node::Statistic(index) => {
                    // Earlier ones first, in their order.
                    for earlier in (0..=index).filter(|earlier| statistics[*earlier]) {
                        let (fold, of) = self.statistics[earlier];
                        statistic_at[earlier] = tape.statistic(fold, tape.expr(at[of])).id;
                    }
                    statistic_at[index]
                }
                node => tape.push(node.with_sources(|source| at[source])),
            };
        }
        let map = |of: &[NodeId]| of.iter().map(|id| at[*id]).collect();
        Self {
            elements: map(&self.elements),
            results: map(&self.results),
            ..tape.recorded.into_inner().body
        }
    }
}

macro_rules! operators {
    ($($operator:ident, $method:ident);*) => {
        $(impl $operator for Expr<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.tape.combine(Operator::$operator, self, other)
            }
        }
        impl $operator<f64> for Expr<'_> {
            type Output = Self;
            fn $method(self, other: f64) -> Self {
                self.tape.combine(Operator::$operator, self, self.tape.constant(other))
            }
        }
        impl<'t> $operator<Expr<'t>> for f64 {
            type Output = Expr<'t>;
            fn $method(self, other: Expr<'t>) -> Expr<'t> {
                other.tape.combine(Operator::$operator, other.tape.constant(self), other)
            }
        })*
    };
}
operators!(Add, add; Sub, sub; Mul, mul; Div, div);

impl Neg for Expr<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.tape.apply(Function::Neg, self)
    }
}

impl AddAssign for Expr<'_> {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

macro_rules! functions {
    ($($method:ident = $function:ident),*) => {
        impl Lanes for Expr<'_> {
            fn constant(self, value: f64) -> Self {
                self.tape.constant(value)
            }
            $(fn $method(self) -> Self {
                self.tape.apply(Function::$function, self)
            })*
            fn where_positive(self, yes: Self, no: Self) -> Self {
                if yes.id == no.id {
                    return yes;
                }
                if let Some(value) = self.tape.value(self.id) {
                    return if value <= 0.0 { no } else { yes };
                }
                self.tape.record(Node::WherePositive([self.id, yes.id, no.id]))
            }
        }
    };
}
functions!(
    abs = Abs,
    sqrt = Sqrt,
    exp = Exp,
    exp_m1 = ExpM1,
    ln = Ln,
    softplus = Softplus,
    sigmoid = Sigmoid,
    tanh = Tanh,
    erf = Erf
);

impl Expr<'_> {
    /// [`Function::Stored`]
    pub(crate) fn stored(self) -> Self {
        self.tape.apply(Function::Stored, self)
    }

    /// [`Function::Finite`]
    pub(crate) fn finite(self) -> Self {
        self.tape.apply(Function::Finite, self)
    }
}

impl<'t> WholeExpr<'t> {
    fn compare(self, relation: Relation, other: Self, yes: Expr<'t>, no: Expr<'t>) -> Expr<'t> {
        let of = [self.id, other.id, yes.id, no.id];
        self.tape.record(Node::Where(relation, of))
    }

    /// `yes` where this is less than the other, else `no`.
    pub fn less(self, other: Self, yes: Expr<'t>, no: Expr<'t>) -> Expr<'t> {
        self.compare(Relation::Less, other, yes, no)
    }

    /// `yes` where this is the other, else `no`.
    pub fn equal(self, other: Self, yes: Expr<'t>, no: Expr<'t>) -> Expr<'t> {
        self.compare(Relation::Equal, other, yes, no)
    }

    /// The number as a float, exact to 2²⁴ in f32.
    pub fn to_float(self) -> Expr<'t> {
        self.tape.record(Node::Float(self.id))
    }

    /// A whole number in the same recording.
    pub fn constant(self, value: u32) -> Self {
        self.tape.whole(value)
    }

    /// A float in the same recording.
    pub fn number(self, value: f64) -> Expr<'t> {
        self.tape.constant(value)
    }
}
