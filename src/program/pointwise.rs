//! Operations that carry an expression: maps, rows, sums.

use super::operands::{Check, Operands};
use super::{Cost, Matrix, Slice, TensorId};
use crate::expr::{Body, Fold, Node};
use crate::philox::RNG_LEN;
use std::borrow::Cow;
use std::sync::Arc;

/// Where the elements of a space are: element (i₀, i₁, …) is at `offset` + Σ iₖ · `strides[k]` of the tensor. A stride of 0 repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The tensor.
    pub tensor: TensorId,
    /// Index of the first element.
    pub offset: usize,
    /// Elements from one place of each axis to the next.
    pub strides: Vec<usize>,
}

impl View {
    /// A slice in row-major order.
    pub fn whole(slice: Slice, shape: &[usize]) -> Self {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        Self::new(slice, strides)
    }

    /// A slice with strides.
    pub fn new(slice: Slice, strides: impl Into<Vec<usize>>) -> Self {
        Self {
            tensor: slice.tensor,
            offset: slice.offset,
            strides: strides.into(),
        }
    }

    /// The elements from the first to the last, gaps included.
    pub(crate) fn extent(&self, shape: &[usize]) -> Slice {
        Slice {
            tensor: self.tensor,
            offset: self.offset,
            len: extent(shape, &self.strides),
        }
    }
}

impl Matrix {
    /// The matrix over a space of its rows and columns.
    pub fn view(self) -> View {
        View {
            tensor: self.tensor,
            offset: self.offset,
            strides: vec![self.row_stride, 1],
        }
    }
}

/// The elements from the first to the last of a space under some strides.
fn extent(shape: &[usize], strides: &[usize]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    let axes = shape.iter().zip(strides);
    axes.fold(1_usize, |len, (size, stride)| {
        len.saturating_add((size - 1).saturating_mul(*stride))
    })
}

/// What an expression reads at each element of its space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Floats.
    Float(View),
    /// Whole numbers, which lie in the tensor as the bits of u32.
    Whole(View),
    /// The whole number `offset` + Σ iₖ · `strides[k]`: of the element, or of its place along an axis.
    Position {
        /// That of the first element.
        offset: usize,
        /// What each axis adds.
        strides: Vec<usize>,
    },
    /// A random word: word n mod 4 of Philox4x32-10, n being a position. The key is the seed, the counter (n div 4, `site`, the step's
    /// low word, its high word).
    Random {
        /// `[4]`, whole numbers: seed and step, low words first.
        rng: Slice,
        /// Which of a program's sites this is, so that no two draw the same.
        site: u32,
        /// The position of the first element.
        offset: usize,
        /// What each axis adds to the position.
        strides: Vec<usize>,
    },
    /// Floats of a table: what is at `view` + (index − `shift`) · `stride`, or 0 where index − `shift` is not 0 to `len` − 1.
    Gather {
        /// What the index is added to.
        view: View,
        /// Whole numbers.
        index: View,
        /// What is subtracted from the index.
        shift: u32,
        /// Elements from one index to the next.
        stride: usize,
        /// How many indices there are.
        len: usize,
    },
}

impl Operand {
    fn strides_mut(&mut self) -> Vec<&mut Vec<usize>> {
        match self {
            Self::Float(view) | Self::Whole(view) => vec![&mut view.strides],
            Self::Position { strides, .. } | Self::Random { strides, .. } => vec![strides],
            Self::Gather { view, index, .. } => vec![&mut view.strides, &mut index.strides],
        }
    }

    /// The view that it is read from, where it is floats.
    pub(crate) fn float(&self) -> Option<&View> {
        match self {
            Self::Float(view) => Some(view),
            _ => None,
        }
    }
}

/// An expression over a space: what all operations that carry one have in common.
///
/// The last axes of the space may form rows, over which the body's statistics fold.
#[derive(Clone, Debug)]
pub struct Pointwise {
    /// What it computes, for listings: `adam`.
    pub name: Cow<'static, str>,
    /// The sizes of the space.
    pub shape: Vec<usize>,
    /// How many axes, the last ones, form a row.
    pub folded: usize,
    /// What the body reads.
    pub operands: Vec<Operand>,
    /// The expression.
    pub body: Arc<Body>,
    /// Where what is computed for every element goes. An operand may be the same view.
    pub elements: Vec<View>,
    /// Where what is computed for every row goes, over the axes that form no row. An operand may be the same view, if only results read it.
    pub results: Vec<View>,
}

/// y = f(x₁ … xₙ) at every element of a space, without rows.
#[derive(Clone, Debug)]
pub struct Map(pub Pointwise);

/// The statistics of every row, each of which may use earlier ones, then a map that may use them all.
#[derive(Clone, Debug)]
pub struct Row(pub Pointwise);

/// Sums over rows, of which no one uses another, in a fixed order. What is computed for every element on the way uses none of them.
#[derive(Clone, Debug)]
pub struct Reduce(pub Pointwise);

impl Pointwise {
    /// The space with as few axes as can be: axes of size 1 go, neighbours that are one for every view join.
    #[must_use]
    pub fn collapsed(mut self) -> Self {
        let kept = self.shape.len() - self.folded;
        for axis in (0..self.shape.len()).rev() {
            // A row keeps an axis.
            let only = axis >= kept && self.folded == 1;
            if self.shape[axis] == 1 && !only {
                self.remove(axis);
                return self.collapsed();
            }
            let joins = axis > 0 && axis != kept && {
                let inner = self.shape[axis];
                let mut one = true;
                for strides in self.all_strides() {
                    if let [outer_stride, stride] = strides.get(axis - 1..=axis).unwrap_or(&[]) {
                        one &= *outer_stride == stride * inner;
                    }
                }
                one
            };
            if joins {
                self.shape[axis] *= self.shape[axis - 1];
                self.shape[axis - 1] = 1;
                self.remove(axis - 1);
                return self.collapsed();
            }
        }
        self
    }

    fn remove(&mut self, axis: usize) {
        if axis >= self.shape.len() - self.folded {
            self.folded -= 1;
        }
        self.shape.remove(axis);
        for strides in self.all_strides() {
            if axis < strides.len() {
                strides.remove(axis);
            }
        }
    }

    /// Moves an axis to the end, outputs aside.
    pub(crate) fn move_axis(&mut self, axis: usize) {
        let size = self.shape.remove(axis);
        self.shape.push(size);
        (self.elements, self.results) = (vec![], vec![]);
        for strides in self.all_strides() {
            if axis < strides.len() {
                let stride = strides.remove(axis);
                strides.push(stride);
            }
        }
    }

    fn all_strides(&mut self) -> Vec<&mut Vec<usize>> {
        let operands = self.operands.iter_mut().flat_map(Operand::strides_mut);
        let outputs = self.elements.iter_mut().chain(&mut self.results);
        operands
            .chain(outputs.map(|view| &mut view.strides))
            .collect()
    }

    /// The sizes of the axes that form no row, and of those that do.
    pub(crate) fn split_shape(&self) -> (&[usize], &[usize]) {
        self.shape.split_at(self.shape.len() - self.folded)
    }

    /// The elements of the space.
    pub(crate) fn len(&self) -> usize {
        product(&self.shape)
    }

    /// Whether its statistics are sums, none of which another or an element needs.
    pub(crate) fn sums_once(&self) -> bool {
        let body = &self.body;
        let levels = body.levels();
        let early = body
            .statistics
            .iter()
            .map(|(_, node)| node)
            .chain(&body.elements);
        let sums = body.statistics.iter().all(|(fold, _)| *fold == Fold::Sum);
        sums && early.into_iter().all(|node| levels.get(*node) == Some(&0))
    }

    /// The output that an operand is one view with: its place among elements and results, one after the other.
    pub(crate) fn in_place(&self, operand: usize) -> Option<usize> {
        let view = self.operands[operand].float()?;
        let kept = self.shape.len() - self.folded;
        let of_elements = self.elements.iter().position(|output| output == view);
        let of_results = || {
            let repeats = view.strides[kept..].iter().all(|stride| *stride == 0);
            let same = |output: &View| {
                repeats
                    && (output.tensor, output.offset) == (view.tensor, view.offset)
                    && output.strides == view.strides[..kept]
            };
            let found = self.results.iter().position(same);
            found.map(|index| self.elements.len() + index)
        };
        of_elements.or_else(of_results)
    }

    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let rank = self.shape.len();
        let body = &self.body;
        let wrong_rank = |view: &View, rank: usize| view.strides.len() != rank;
        if self.folded > rank {
            return Err(format!("{} axes of {rank} form rows", self.folded));
        }
        if (body.elements.len(), body.results.len()) != (self.elements.len(), self.results.len()) {
            return Err(format!(
                "{} elements and {} results, of which the body computes {} and {}",
                self.elements.len(),
                self.results.len(),
                body.elements.len(),
                body.results.len()
            ));
        }
        let outputs = self.elements.len() + self.results.len();
        if self.operands.len() > MOST_OPERANDS || outputs > MOST_OUTPUTS {
            return Err(format!(
                "{} operands and {outputs} outputs, more than {MOST_OPERANDS} and {MOST_OUTPUTS}",
                self.operands.len()
            ));
        }
        self.check_leaves()?;
        for (index, operand) in self.operands.iter().enumerate() {
            let name = OPERANDS[index.min(OPERANDS.len() - 1)];
            match operand {
                Operand::Float(view) | Operand::Whole(view) => {
                    if wrong_rank(view, rank) {
                        return Err(format!(
                            "{name} has {} strides, not {rank}",
                            view.strides.len()
                        ));
                    }
                    let slice = view.extent(&self.shape);
                    match self.in_place(index) {
                        Some(_) => o.read_in_place(name, slice)?,
                        None => o.read(name, slice, slice.len)?,
                    }
                }
                Operand::Position { strides, .. } | Operand::Random { strides, .. } => {
                    if strides.len() != rank {
                        return Err(format!("{name} has {} strides, not {rank}", strides.len()));
                    }
                    if let Operand::Random { rng, .. } = operand {
                        o.read(name, *rng, RNG_LEN)?;
                    }
                }
                Operand::Gather {
                    view,
                    index,
                    stride,
                    len,
                    ..
                } => {
                    if wrong_rank(view, rank) || wrong_rank(index, rank) || *len == 0 {
                        return Err(format!("{name} has not {rank} strides, or no index"));
                    }
                    let mut table = view.extent(&self.shape);
                    let more = (len - 1).saturating_mul(*stride);
                    table.len = table.len.saturating_add(more);
                    o.read(name, table, table.len)?;
                    let index = index.extent(&self.shape);
                    o.read(name, index, index.len)?;
                }
            }
        }
        let kept = rank - self.folded;
        let outputs = self.elements.iter().map(|view| (view, &self.shape[..]));
        let results = self.results.iter().map(|view| (view, &self.shape[..kept]));
        for (index, (view, shape)) in outputs.chain(results).enumerate() {
            let name = OUTPUTS[index.min(OUTPUTS.len() - 1)];
            if wrong_rank(view, shape.len()) {
                return Err(format!("{name} has not {} strides", shape.len()));
            }
            if let Some(axis) =
                (0..shape.len()).find(|axis| shape[*axis] > 1 && view.strides[*axis] == 0)
            {
                return Err(format!(
                    "{name} is written more than once, along axis {axis}"
                ));
            }
            let slice = view.extent(shape);
            o.write_beside(name, slice)?;
        }
        Ok(())
    }

    /// The leaves of the body are there, and of the right kind.
    fn check_leaves(&self) -> Check {
        let body = &self.body;
        for (id, node) in body.nodes.iter().enumerate() {
            let fits = match node {
                Node::Operand(index) => matches!(
                    self.operands.get(*index),
                    Some(Operand::Float(_) | Operand::Gather { .. })
                ),
                Node::WholeOperand(index) => matches!(
                    self.operands.get(*index),
                    Some(Operand::Whole(_) | Operand::Position { .. } | Operand::Random { .. })
                ),
                Node::Statistic(index) => *index < body.statistics.len(),
                Node::Number(index) => *index < body.numbers.len(),
                Node::Whole(index) => *index < body.wholes.len(),
                _ => true,
            };
            let mut earlier = true;
            node.for_each_source(|source| earlier &= source < id);
            if !(fits && earlier) {
                return Err(format!(
                    "node {id} of the body, {node:?}, reads what is not there"
                ));
            }
        }
        match body.roots().find(|root| *root >= body.nodes.len()) {
            Some(root) => Err(format!("node {root} of the body is not there")),
            None => Ok(()),
        }
    }

    fn cost(&self) -> Cost {
        let len = self.len() as f64;
        let (kept, _) = self.split_shape();
        let size = |strides: &[usize]| {
            let axes = self
                .shape
                .iter()
                .zip(strides)
                .filter(|(_, stride)| **stride > 0);
            axes.map(|(size, _)| *size as f64).product::<f64>()
        };
        let read = self.operands.iter().map(|operand| match operand {
            Operand::Float(view) | Operand::Whole(view) => size(&view.strides),
            Operand::Position { .. } => 0.0,
            Operand::Random { .. } => RNG_LEN as f64,
            Operand::Gather { index, .. } => size(&index.strides) + len,
        });
        let results = product(kept) as f64 * self.results.len() as f64;
        let written = len * self.elements.len() as f64 + results;
        let flops = self.body.flops() + self.body.statistics.len();
        Cost::new(flops as f64 * len, read.sum(), written)
    }
}

/// The product of some sizes.
pub(crate) fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |all, size| all.saturating_mul(*size))
}

/// The most operands and outputs of an expression.
pub(crate) const MOST_OPERANDS: usize = 20;
pub(crate) const MOST_OUTPUTS: usize = 8;

const OPERANDS: [&str; 9] = [
    "operand 0",
    "operand 1",
    "operand 2",
    "operand 3",
    "operand 4",
    "operand 5",
    "operand 6",
    "operand 7",
    "a later operand",
];

const OUTPUTS: [&str; 5] = [
    "output 0",
    "output 1",
    "output 2",
    "output 3",
    "a later output",
];

impl Map {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        if self.0.folded > 0 || !self.0.results.is_empty() || !self.0.body.statistics.is_empty() {
            return Err("a map has rows".into());
        }
        self.0.check(o)
    }

    pub(super) fn cost(&self) -> Cost {
        self.0.cost()
    }
}

impl Row {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        if self.0.folded == 0 {
            return Err("no axis forms a row".into());
        }
        self.0.check(o)
    }

    pub(super) fn cost(&self) -> Cost {
        self.0.cost()
    }
}

impl Reduce {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        if !self.0.sums_once() {
            return Err("a sum, or an element, uses a sum, or is none".into());
        }
        self.0.check(o)
    }

    pub(super) fn cost(&self) -> Cost {
        self.0.cost()
    }
}
