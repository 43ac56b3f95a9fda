//! Derivatives of expressions, as more of the same recording.

use super::lanes::Lanes;
use super::node::{Body, Fold, Function, Node, NodeId, Operator};
use super::tape::{Expr, Inlined, Tape};

/// The gradients that reach nodes: none where nothing does.
pub(crate) struct Adjoints<'t>(Vec<Option<Expr<'t>>>);

impl<'t> Adjoints<'t> {
    pub(crate) fn of(&self, node: NodeId) -> Option<Expr<'t>> {
        self.0.get(node).copied().flatten()
    }

    fn add(&mut self, node: NodeId, part: Expr<'t>) {
        if matches!(part.tape.node(part.id), Node::Constant(bits) if f64::from_bits(bits) == 0.0) {
            return;
        }
        let sum = &mut self.0[node];
        *sum = Some(sum.map_or(part, |known| known + part));
    }
}

impl<'t> Expr<'t> {
    /// The expression's number in the recording.
    pub(crate) fn id(self) -> NodeId {
        self.id
    }
}

impl Tape {
    /// The gradients of Σ seed · node with respect to every node, statistics and operands being leaves.
    pub(crate) fn adjoints<'t>(&'t self, seeds: &[(NodeId, Expr<'t>)]) -> Adjoints<'t> {
        let len = self.len();
        let mut adjoints = Adjoints(vec![None; len]);
        for (node, seed) in seeds {
            adjoints.add(*node, *seed);
        }
        for id in (0..len).rev() {
            if let Some(d) = adjoints.of(id) {
                self.pass_back(id, d, &mut adjoints);
            }
        }
        adjoints
    }

    /// Adds what a node's gradient d gives its sources.
    fn pass_back<'t>(&'t self, id: NodeId, d: Expr<'t>, adjoints: &mut Adjoints<'t>) {
        let y = self.expr(id);
        match self.node(id) {
            Node::Apply(function, source) => {
                let x = self.expr(source);
                let part = match function {
                    Function::Neg => -d,
                    // 0 at 0, as PyTorch has it.
                    Function::Abs => x.where_positive(d, (-x).where_positive(-d, d.zero())),
                    Function::Sqrt => d * 0.5 / y,
                    Function::Exp => d * y,
                    Function::ExpM1 => d * (y + 1.0),
                    Function::Ln => d / x,
                    Function::Softplus => d * x.sigmoid(),
                    Function::Sigmoid => d * (y * y.complement()),
                    Function::Tanh => d * (y * y).complement(),
                    Function::Erf => d * (-(x * x)).exp() * std::f64::consts::FRAC_2_SQRT_PI,
                    Function::Stored => d,
                    Function::Finite => d.zero(),
                };
                adjoints.add(source, part);
            }
            Node::Combine(operator, [a, b]) => {
                let (x, z) = (self.expr(a), self.expr(b));
                let (of_a, of_b) = match operator {
                    Operator::Add => (d, d),
                    Operator::Sub => (d, -d),
                    Operator::Mul => (d * z, d * x),
                    Operator::Div => (d / z, -(d * y / z)),
                };
                adjoints.add(a, of_a);
                adjoints.add(b, of_b);
            }
            Node::WherePositive([x, yes, no]) => {
                let (x, zero) = (self.expr(x), d.zero());
                adjoints.add(yes, x.where_positive(d, zero));
                adjoints.add(no, x.where_positive(zero, d));
            }
            Node::Where(relation, [a, b, yes, no]) => {
                let zero = d.zero();
                for (source, [of_yes, of_no]) in [(yes, [d, zero]), (no, [zero, d])] {
                    let part = Node::Where(relation, [a, b, of_yes.id, of_no.id]);
                    adjoints.add(source, self.expr(self.push(part)));
                }
            }
            _ => {}
        }
    }

    /// The gradients of what a body computes, with respect to its float operands: expressions of an element, and what is added once a row.
    ///
    /// By the rule for statistics r_k = Σᵢ g_k(xᵢ, r_<k) and outputs yᵢ = f(xᵢ, r): from the last to the first
    /// d r_k = Σᵢ dyᵢ ∂f/∂r_k + Σ_{j>k} d r_j Σᵢ ∂g_j/∂r_k, then dxᵢ = dyᵢ ∂f/∂xᵢ + Σ_k d r_k ∂g_k/∂xᵢ. Maxima count as constants.
    pub(crate) fn operand_gradients<'t>(
        &'t self,
        elements: &[(NodeId, Expr<'t>)],
        results: &[(NodeId, Expr<'t>)],
    ) -> OperandGradients<'t> {
        let folded = self.statistics();
        let by_row = self.adjoints(results);
        let mut by_element = vec![self.adjoints(elements)];
        for (index, (fold, of)) in folded.iter().enumerate().rev() {
            if *fold == Fold::Max {
                continue;
            }
            let statistic = self.push(Node::Statistic(index));
            let in_elements = self.sum(by_element.iter().map(|part| part.of(statistic)));
            let summed = in_elements.map(|part| self.statistic(Fold::Sum, part));
            let d = self.sum([summed, by_row.of(statistic)]);
            if let Some(d) = d {
                by_element.push(self.adjoints(&[(*of, d)]));
            }
        }
        OperandGradients {
            tape: self,
            by_element,
            by_row,
        }
    }

    /// The sum of what is there.
    pub(crate) fn sum<'t>(
        &'t self,
        parts: impl IntoIterator<Item = Option<Expr<'t>>>,
    ) -> Option<Expr<'t>> {
        parts.into_iter().flatten().reduce(|sum, part| sum + part)
    }
}

/// What [`Tape::operand_gradients`] gives.
pub(crate) struct OperandGradients<'t> {
    tape: &'t Tape,
    by_element: Vec<Adjoints<'t>>,
    by_row: Adjoints<'t>,
}

impl<'t> OperandGradients<'t> {
    /// The gradient of the n-th operand at an element, and what is added to that once a row.
    pub(crate) fn of(&self, operand: usize) -> (Option<Expr<'t>>, Option<Expr<'t>>) {
        let node = self.tape.push(Node::Operand(operand));
        let parts = self.by_element.iter().map(|part| part.of(node));
        (self.tape.sum(parts), self.by_row.of(node))
    }
}

impl Body {
    /// The gradients of Σ ⟨seed, output⟩ with respect to some operands, as graphs take them, for tests. `of`: operands, and whether
    /// they change along a row: of those that do the gradient is an element, of the others, summed over the row, a result. The seeds
    /// are the operands from `seeds` on: one for each element, then one for each result.
    #[doc(hidden)]
    #[must_use]
    pub fn gradient(&self, seeds: usize, of: &[(usize, bool)]) -> Self {
        let tape = Tape::new();
        let (elements, results) = tape.inline(self, Inlined::Operand);
        let seeded =
            |(index, output): (usize, &Expr<'_>)| (output.id(), tape.operand(seeds + index));
        let of_elements: Vec<_> = elements.iter().enumerate().map(seeded).collect();
        let of_results = results.iter().enumerate();
        let of_results: Vec<_> = of_results
            .map(|(index, result)| seeded((elements.len() + index, result)))
            .collect();
        let found = tape.operand_gradients(&of_elements, &of_results);
        let zero = tape.constant(0.0);
        let (mut as_elements, mut as_results) = (vec![], vec![]);
        for (operand, along_row) in of {
            let (element, row) = found.of(*operand);
            if *along_row {
                as_elements.push(tape.sum([element, row]).unwrap_or(zero));
            } else {
                let summed = element.map(|element| tape.statistic(Fold::Sum, element));
                as_results.push(tape.sum([summed, row]).unwrap_or(zero));
            }
        }
        tape.finish(&as_elements, &as_results)
    }
}
