//! Expressions evaluated on the CPU, a block of elements at a time.

use super::node::{Body, Function, Node, NodeId, Operator, Relation};
use super::{Lanes, Vector};
use aligned_vec::AVec;
use pulp::{Arch, Simd, WithSimd};

/// What the elements of a register are, and those of two or four.
pub(crate) const REGISTER: usize = 16;

/// The elements of a block: whole registers, whatever their width.
pub(crate) const BLOCK: usize = 256;

/// The values of a body's nodes at the elements of a block.
#[derive(Debug)]
pub struct Block<F> {
    floats: AVec<F>,
    wholes: Vec<u32>,
}

impl<F: BlockScalar> Block<F> {
    /// Room for a body, with its constants in place.
    pub(crate) fn new(body: &Body) -> Self {
        let zeros = std::iter::repeat_n(F::from_f64(0.0), body.nodes.len() * BLOCK);
        let mut block = Self {
            // On cache lines, which registers are loaded from.
            floats: AVec::from_iter(64, zeros),
            wholes: vec![],
        };
        if body.nodes.iter().any(Node::is_whole) {
            block.wholes = vec![0; body.nodes.len() * BLOCK];
        }
        for (id, node) in body.nodes.iter().enumerate() {
            match node {
                Node::Constant(bits) => block.set(id, F::from_f64(f64::from_bits(*bits))),
                Node::Number(index) => block.set(id, F::from_f64(body.numbers[*index])),
                Node::Whole(index) => block.wholes_mut(id).fill(body.wholes[*index]),
                _ => {}
            }
        }
        block
    }

    /// Sets a node to one number at all elements.
    pub(crate) fn set(&mut self, id: NodeId, value: F) {
        self.floats_mut(id).fill(value);
    }

    pub(crate) fn floats(&self, id: NodeId) -> &[F] {
        &self.floats[id * BLOCK..][..BLOCK]
    }

    pub(crate) fn floats_mut(&mut self, id: NodeId) -> &mut [F] {
        &mut self.floats[id * BLOCK..][..BLOCK]
    }

    pub(crate) fn wholes_mut(&mut self, id: NodeId) -> &mut [u32] {
        &mut self.wholes[id * BLOCK..][..BLOCK]
    }

    /// Computes some nodes at the first `len` elements. Their leaves are in place, or `elsewhere`: whole registers of them.
    pub(crate) fn evaluate(
        &mut self,
        body: &Body,
        schedule: &Schedule,
        len: usize,
        elsewhere: &[(NodeId, &[F])],
    ) {
        // Whole registers.
        let len = len.next_multiple_of(REGISTER).min(BLOCK);
        F::evaluate(Evaluation {
            block: self,
            body,
            schedule,
            len,
            elsewhere,
        });
    }
}

/// In what order nodes are computed: a product that only one sum or difference reads is computed together with that.
#[derive(Debug, Default)]
pub(crate) struct Schedule(Vec<Computation>);

#[derive(Debug)]
enum Computation {
    Node(NodeId),
    /// a · b, and then its sum or difference with c.
    Product {
        to: NodeId,
        factors: [NodeId; 2],
        other: NodeId,
        join: Join,
    },
}

/// How a product ab is joined with c.
#[derive(Clone, Copy, Debug)]
enum Join {
    Add,
    SubtractOther,
    SubtractProduct,
}

impl Schedule {
    /// Arranges some nodes of a body, which are in order; `asked` are those whose values are asked for.
    pub(crate) fn new(body: &Body, nodes: &[NodeId], asked: &[NodeId]) -> Self {
        let mut uses = vec![0; body.nodes.len()];
        asked.iter().for_each(|id| uses[*id] += 1);
        for id in nodes {
            body.nodes[*id].for_each_source(|source| uses[source] += 1);
        }
        let mut joined = vec![false; body.nodes.len()];
        let mut steps = vec![];
        for id in nodes.iter().rev().filter(|id| !body.nodes[**id].is_leaf()) {
            if joined[*id] {
                continue;
            }
            let product = |of: NodeId| match body.nodes[of] {
                Node::Combine(Operator::Mul, factors) if uses[of] == 1 => Some((of, factors)),
                _ => None,
            };
            let found = match body.nodes[*id] {
                Node::Combine(Operator::Add, [a, b]) => (product(b).map(|of| (of, a, Join::Add)))
                    .or_else(|| product(a).map(|of| (of, b, Join::Add))),
                Node::Combine(Operator::Sub, [a, b]) => (product(b))
                    .map(|of| (of, a, Join::SubtractProduct))
                    .or_else(|| product(a).map(|of| (of, b, Join::SubtractOther))),
                _ => None,
            };
            steps.push(match found {
                Some(((product, factors), other, join)) => {
                    joined[product] = true;
                    Computation::Product {
                        to: *id,
                        factors,
                        other,
                        join,
                    }
                }
                None => Computation::Node(*id),
            });
        }
        steps.reverse();
        Self(steps)
    }

    /// Says whether nothing is to be computed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// f32 or f64.
pub trait BlockScalar: Copy + Sized {
    fn from_f64(value: f64) -> Self;
    fn evaluate(evaluation: Evaluation<'_, Self>);
}

impl BlockScalar for f32 {
    fn from_f64(value: f64) -> Self {
        value as Self
    }
    fn evaluate(evaluation: Evaluation<'_, Self>) {
        Arch::new().dispatch(evaluation);
    }
}

impl BlockScalar for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn evaluate(evaluation: Evaluation<'_, Self>) {
        evaluation.run(OneByOne);
    }
}

/// Nodes to be computed at the elements of a block.
pub struct Evaluation<'a, F> {
    block: &'a mut Block<F>,
    body: &'a Body,
    schedule: &'a Schedule,
    len: usize,
    elsewhere: &'a [(NodeId, &'a [F])],
}

impl WithSimd for Evaluation<'_, f32> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.run(InRegisters(simd));
    }
}

/// How a function is applied to slices.
trait Sweep<F>: Copy {
    type Lanes: Lanes;
    fn one(self, x: &[F], to: &mut [F], f: impl Fn(Self::Lanes) -> Self::Lanes);
    fn two(self, x: [&[F]; 2], to: &mut [F], f: impl Fn([Self::Lanes; 2]) -> Self::Lanes);
    fn three(self, x: [&[F]; 3], to: &mut [F], f: impl Fn([Self::Lanes; 3]) -> Self::Lanes);
}

#[derive(Clone, Copy)]
struct OneByOne;

impl<F: Lanes> Sweep<F> for OneByOne {
    type Lanes = F;
    #[inline(always)]
    fn one(self, x: &[F], to: &mut [F], f: impl Fn(F) -> F) {
        to.iter_mut().zip(x).for_each(|(to, x)| *to = f(*x));
    }
    #[inline(always)]
    fn two(self, [x, y]: [&[F]; 2], to: &mut [F], f: impl Fn([F; 2]) -> F) {
        let both = x.iter().zip(y);
        to.iter_mut()
            .zip(both)
            .for_each(|(to, (x, y))| *to = f([*x, *y]));
    }
    #[inline(always)]
    fn three(self, [x, y, z]: [&[F]; 3], to: &mut [F], f: impl Fn([F; 3]) -> F) {
        let all = x.iter().zip(y).zip(z);
        to.iter_mut()
            .zip(all)
            .for_each(|(to, ((x, y), z))| *to = f([*x, *y, *z]));
    }
}

#[derive(Clone, Copy)]
struct InRegisters<S>(S);

impl<S: Simd> Sweep<f32> for InRegisters<S> {
    type Lanes = Vector<S>;
    #[inline(always)]
    fn one(self, x: &[f32], to: &mut [f32], f: impl Fn(Vector<S>) -> Vector<S>) {
        let (x, to) = (S::as_simd_f32s(x).0, S::as_mut_simd_f32s(to).0);
        let lanes = |values: &S::f32s| Vector::new(self.0, *values);
        to.iter_mut()
            .zip(x)
            .for_each(|(to, x)| *to = f(lanes(x)).values);
    }
    #[inline(always)]
    fn two(self, x: [&[f32]; 2], to: &mut [f32], f: impl Fn([Vector<S>; 2]) -> Vector<S>) {
        let [x, y] = [S::as_simd_f32s(x[0]).0, S::as_simd_f32s(x[1]).0];
        let to = S::as_mut_simd_f32s(to).0;
        let lanes = |values: &S::f32s| Vector::new(self.0, *values);
        let both = x.iter().zip(y);
        to.iter_mut()
            .zip(both)
            .for_each(|(to, (x, y))| *to = f([lanes(x), lanes(y)]).values);
    }
    #[inline(always)]
    fn three(self, x: [&[f32]; 3], to: &mut [f32], f: impl Fn([Vector<S>; 3]) -> Vector<S>) {
        let [x, y, z] = [
            S::as_simd_f32s(x[0]).0,
            S::as_simd_f32s(x[1]).0,
            S::as_simd_f32s(x[2]).0,
        ];
        let to = S::as_mut_simd_f32s(to).0;
        let lanes = |values: &S::f32s| Vector::new(self.0, *values);
        let all = x.iter().zip(y).zip(z);
        to.iter_mut().zip(all).for_each(|(to, ((x, y), z))| {
            *to = f([lanes(x), lanes(y), lanes(z)]).values;
        });
    }
}

impl<F: BlockScalar> Evaluation<'_, F> {
    #[inline(always)]
    fn run(self, sweep: impl Sweep<F>) {
        let len = self.len;
        let wholes = &self.block.wholes;
        let whole = |id: NodeId| &wholes[id * BLOCK..][..len];
        for step in &self.schedule.0 {
            let (Computation::Node(id) | Computation::Product { to: id, .. }) = *step;
            let (before, rest) = self.block.floats.split_at_mut(id * BLOCK);
            let to = &mut rest[..len];
            let float = |id: NodeId| {
                let known = self.elsewhere.iter().find(|(known, _)| *known == id);
                known.map_or_else(
                    || &before[id * BLOCK..][..len],
                    |(_, floats)| &floats[..len],
                )
            };
            if let Computation::Product {
                factors: [a, b],
                other,
                join,
                ..
            } = *step
            {
                let of = [float(a), float(b), float(other)];
                match join {
                    Join::Add => sweep.three(of, to, |[a, b, c]| a * b + c),
                    Join::SubtractOther => sweep.three(of, to, |[a, b, c]| a * b - c),
                    Join::SubtractProduct => sweep.three(of, to, |[a, b, c]| c - a * b),
                }
                continue;
            }
            match self.body.nodes[id] {
                Node::Apply(function, x) => {
                    let x = float(x);
                    // A loop each, so that what is applied is known in it.
                    match function {
                        Function::Neg => sweep.one(x, to, |x| -x),
                        Function::Abs => sweep.one(x, to, |x| x.abs()),
                        Function::Sqrt => sweep.one(x, to, |x| x.sqrt()),
                        Function::Exp => sweep.one(x, to, |x| x.exp()),
                        Function::ExpM1 => sweep.one(x, to, |x| x.exp_m1()),
                        Function::Ln => sweep.one(x, to, |x| x.ln()),
                        Function::Softplus => sweep.one(x, to, |x| x.softplus()),
                        Function::Sigmoid => sweep.one(x, to, |x| x.sigmoid()),
                        Function::Tanh => sweep.one(x, to, |x| x.tanh()),
                        Function::Erf => sweep.one(x, to, |x| x.erf()),
                        Function::Stored => sweep.one(x, to, |x| x),
                        Function::Finite => sweep.one(x, to, |x| Function::Finite.of(x)),
                    }
                }
                Node::Combine(operator, [a, b]) => {
                    let of = [float(a), float(b)];
                    match operator {
                        Operator::Add => sweep.two(of, to, |[x, y]| x + y),
                        Operator::Sub => sweep.two(of, to, |[x, y]| x - y),
                        Operator::Mul => sweep.two(of, to, |[x, y]| x * y),
                        Operator::Div => sweep.two(of, to, |[x, y]| x / y),
                    }
                }
                Node::WherePositive([x, yes, no]) => {
                    let of = [float(x), float(yes), float(no)];
                    sweep.three(of, to, |[x, yes, no]| x.where_positive(yes, no));
                }
                Node::Where(relation, [a, b, yes, no]) => {
                    let numbers = whole(a).iter().zip(whole(b));
                    let choice = float(yes).iter().zip(float(no));
                    let all = to.iter_mut().zip(numbers.zip(choice));
                    match relation {
                        Relation::Less => all.for_each(|(to, ((a, b), (yes, no)))| {
                            *to = if a < b { *yes } else { *no };
                        }),
                        Relation::Equal => all.for_each(|(to, ((a, b), (yes, no)))| {
                            *to = if a == b { *yes } else { *no };
                        }),
                    }
                }
                Node::Float(of) => {
                    let all = to.iter_mut().zip(whole(of));
                    all.for_each(|(to, whole)| *to = F::from_f64(f64::from(*whole)));
                }
                // Leaves are in place.
                _ => {}
            }
        }
    }
}
