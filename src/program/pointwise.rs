//! Operations that carry an expression: maps, rows, sums.

use super::{Slice, View, product};
use crate::expr::{Body, Fold};
use std::borrow::Cow;
use std::sync::Arc;

/// What an expression reads at each element of its space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Floats.
    Float(View),
    /// Whole numbers, which lie in the tensor as the bits of u32.
    Whole(View),
    /// The whole number `offset` + Σ iₖ · `strides[k]`: of the element, or of its place along an axis.
    Position {
        /// The number of the first element.
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
        let Some(kept) = self.shape.len().checked_sub(self.folded) else {
            return self;
        };
        for axis in (0..self.shape.len()).rev() {
            // A row keeps an axis.
            let only = axis >= kept && self.folded == 1;
            if self.shape[axis] == 1 && !only {
                self.remove(axis);
                return self.collapsed();
            }
            let inner = self.shape[axis];
            let one = |strides: &&mut Vec<usize>| match strides.get(axis - 1..=axis) {
                Some([outer, stride]) => Some(*outer) == stride.checked_mul(inner),
                _ => true,
            };
            let joins = axis > 0 && axis != kept && self.all_strides().iter().all(one);
            if joins {
                self.shape[axis] = inner.saturating_mul(self.shape[axis - 1]);
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
        let folded = body.statistics.iter().map(|(_, node)| node);
        let sums = body.statistics.iter().all(|(fold, _)| *fold == Fold::Sum);
        let mut early = folded.chain(&body.elements);
        sums && early.all(|node| levels.get(*node) == Some(&0))
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
}
