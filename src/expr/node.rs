//! Expressions as data.

use super::Lanes;
use smallvec::SmallVec;

/// The number of a [`Node`] in its [`Body`].
pub type NodeId = usize;

/// A function of one float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    missing_docs,
    reason = "each is the function of `Lanes` of its name, where it says no other"
)]
pub enum Function {
    Neg,
    Abs,
    Sqrt,
    Exp,
    ExpM1,
    Ln,
    Softplus,
    Sigmoid,
    Tanh,
    Erf,
    /// x, rounded as if it had been stored: no compiler takes it apart or computes past it. What makes errors of rounding exact.
    Stored,
    /// 1 where x is finite, else 0: by its bits, as drivers differ in how they compare a NaN.
    Finite,
}

impl Function {
    /// The function's value.
    #[inline(always)]
    pub(crate) fn of<N: Lanes>(self, x: N) -> N {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sqrt => x.sqrt(),
            Self::Exp => x.exp(),
            Self::ExpM1 => x.exp_m1(),
            Self::Ln => x.ln(),
            Self::Softplus => x.softplus(),
            Self::Sigmoid => x.sigmoid(),
            Self::Tanh => x.tanh(),
            Self::Erf => x.erf(),
            Self::Stored => x,
            // Only a NaN is not at most 0 here.
            Self::Finite => (x * x.zero()).where_positive(x.zero(), x.constant(1.0)),
        }
    }
}

/// An operator of two floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the operator of its name")]
pub enum Operator {
    Add,
    Sub,
    Mul,
    Div,
}

/// A relation of two whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the relation of its name")]
pub enum Relation {
    Less,
    Equal,
}

/// How the elements of a row become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// The sum of the elements.
    Sum,
    /// The largest of the elements; NaN where one is NaN. Its derivative is taken for 0.
    Max,
}

/// One step of an expression; it reads nodes before it. Floats, but for those that say they are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// What the n-th operand has at the element.
    Operand(usize),
    /// What the n-th operand, one of whole numbers, has at the element.
    WholeOperand(usize),
    /// The n-th [statistic](Body::statistics) of the element's row.
    Statistic(usize),
    /// A number, by its bits, as part of the expression's form.
    Constant(u64),
    /// A number, by its place in [`Body::numbers`]: expressions that differ in these alone share a kernel.
    Number(usize),
    /// A whole number, by its place in [`Body::wholes`].
    Whole(usize),
    /// A function of a float.
    Apply(Function, NodeId),
    /// Two floats combined.
    Combine(Operator, [NodeId; 2]),
    /// Where x ≤ 0 the third, else the second (x being the first).
    WherePositive([NodeId; 3]),
    /// Where the relation holds between the first two, which are whole, the third, else the fourth.
    Where(Relation, [NodeId; 4]),
    /// A whole number as a float.
    Float(NodeId),
}

impl Node {
    /// Calls a function for each node that this one reads.
    pub(crate) fn for_each_source(&self, mut visit: impl FnMut(NodeId)) {
        match self {
            Self::Apply(_, x) | Self::Float(x) => visit(*x),
            Self::Combine(_, of) => of.iter().for_each(|x| visit(*x)),
            Self::WherePositive(of) => of.iter().for_each(|x| visit(*x)),
            Self::Where(_, of) => of.iter().for_each(|x| visit(*x)),
            _ => {}
        }
    }

    /// The node with its sources replaced.
    pub(crate) fn with_sources(self, map: impl Fn(NodeId) -> NodeId) -> Self {
        match self {
            Self::Apply(function, x) => Self::Apply(function, map(x)),
            Self::Float(x) => Self::Float(map(x)),
            Self::Combine(operator, of) => Self::Combine(operator, of.map(map)),
            Self::WherePositive(of) => Self::WherePositive(of.map(map)),
            Self::Where(relation, of) => Self::Where(relation, of.map(map)),
            leaf => leaf,
        }
    }

    /// Says whether the node reads no other.
    pub(crate) fn is_leaf(&self) -> bool {
        let mut leaf = true;
        self.for_each_source(|_| leaf = false);
        leaf
    }

    /// Says whether the node's value is a whole number.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::WholeOperand(_) | Self::Whole(_))
    }
}

/// A straight-line computation for every element of a space, and for every row of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    /// The steps; each reads earlier ones.
    pub nodes: Vec<Node>,
    /// The numbers of [`Node::Number`].
    pub numbers: Vec<f64>,
    /// The numbers of [`Node::Whole`].
    pub wholes: Vec<u32>,
    /// What is folded over a row; each may read earlier ones.
    pub statistics: Vec<(Fold, NodeId)>,
    /// What is computed for every element.
    pub elements: Vec<NodeId>,
    /// What is computed once a row, of its statistics and of operands that do not change along it.
    pub results: Vec<NodeId>,
}

impl Body {
    /// For each node the statistics it needs, directly or not: how many have to be known before it, at least.
    pub(crate) fn levels(&self) -> Vec<usize> {
        let mut levels: Vec<usize> = vec![];
        for node in &self.nodes {
            let mut level = match node {
                Node::Statistic(index) => index + 1,
                _ => 0,
            };
            node.for_each_source(|source| level = level.max(levels[source]));
            levels.push(level);
        }
        levels
    }

    /// The nodes that some need, themselves included, in order. Statistics are leaves.
    pub(crate) fn needed(&self, roots: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
        let mut needed = vec![false; self.nodes.len()];
        roots.into_iter().for_each(|root| needed[root] = true);
        for id in (0..self.nodes.len()).rev() {
            if needed[id] {
                self.nodes[id].for_each_source(|source| needed[source] = true);
            }
        }
        (0..needed.len()).filter(|id| needed[*id]).collect()
    }

    /// All that is asked for: statistics, elements, results.
    pub(crate) fn roots(&self) -> impl Iterator<Item = NodeId> + '_ {
        let statistics = self.statistics.iter().map(|(_, node)| *node);
        statistics
            .chain(self.elements.iter().copied())
            .chain(self.results.iter().copied())
    }

    /// Statistics that can be folded in one pass over the row, in turns: each turn needs those before it.
    pub(crate) fn turns(&self) -> Vec<Vec<usize>> {
        let levels = self.levels();
        let mut turn_of: Vec<usize> = vec![];
        let mut turns: Vec<Vec<usize>> = vec![];
        for (index, (_, node)) in self.statistics.iter().enumerate() {
            // Those it reads are among the first `levels[node]`.
            let mut turn = 0;
            for id in self.needed([*node]) {
                if let Node::Statistic(earlier) = self.nodes[id] {
                    turn = turn.max(turn_of[earlier] + 1);
                }
            }
            debug_assert!(levels[*node] <= index);
            turn_of.push(turn);
            turns.resize(turns.len().max(turn + 1), vec![]);
            turns[turn].push(index);
        }
        turns
    }

    /// Gives `put` the elements of a body that reads no row and nothing whole, a step at a time.
    /// `like` says how many lanes there are.
    #[inline(always)]
    pub(crate) fn evaluate<N: Lanes>(
        &self,
        like: N,
        operand: impl Fn(usize) -> N,
        mut put: impl FnMut(usize, N),
    ) {
        let mut values = SmallVec::<[N; 128]>::new();
        for node in &self.nodes {
            values.push(match *node {
                Node::Operand(index) => operand(index),
                Node::Constant(bits) => like.constant(f64::from_bits(bits)),
                Node::Number(index) => like.constant(self.numbers[index]),
                Node::Apply(function, x) => function.of(values[x]),
                Node::Combine(operator, [a, b]) => {
                    let (a, b) = (values[a], values[b]);
                    match operator {
                        Operator::Add => a + b,
                        Operator::Sub => a - b,
                        Operator::Mul => a * b,
                        Operator::Div => a / b,
                    }
                }
                Node::WherePositive([x, yes, no]) => {
                    values[x].where_positive(values[yes], values[no])
                }
                node => unreachable!("{node:?} is not one of a single element"),
            });
        }
        for (index, id) in self.elements.iter().enumerate() {
            put(index, values[*id]);
        }
    }

    /// Floating-point operations of one element.
    pub(crate) fn flops(&self) -> usize {
        let operation = |node: &&Node| match node {
            Node::Apply(function, _) => !matches!(function, Function::Stored | Function::Finite),
            node => matches!(node, Node::Combine(..)),
        };
        self.nodes.iter().filter(operation).count()
    }
}
