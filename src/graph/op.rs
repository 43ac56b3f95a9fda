//! The operations of a graph.

use super::recurrence::Recurrence;
use crate::expr::{Body, Node};
use crate::operation::OperationRef;
use std::borrow::Cow;
use std::sync::Arc;

/// An operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// What is fed at every run, by its place among the graph's inputs.
    Input(usize),
    /// A weight, by its place among the model's.
    Parameter(usize),
    /// An expression over a space.
    Pointwise(Box<PointwiseOp>),
    /// A matrix product, with a bias where there is a third input.
    MatMul {
        /// Whether a is read transposed, and b.
        transpose: [bool; 2],
    },
    /// The same elements in another shape.
    Reshape,
    /// Places of an axis, from `start` on.
    Slice { axis: usize, start: usize },
    /// The axes in another order.
    Permute(Vec<usize>),
    /// Zeros but for the input, which is at the places of an axis from `start` on: the gradient of a slice.
    Pad { axis: usize, start: usize },
    /// Values one behind the other.
    Concat { axis: usize },
    /// Rows `[N, E]` added up by their index `[N]` into `[V, E]`: the gradient of a table.
    Scatter,
    /// An operation of a user's own.
    Custom(OperationRef),
    /// One recurrent layer. Outputs: y, the last states.
    Recurrence(Arc<Recurrence>),
    /// Its gradient, of the layer at a node. Inputs: d_y and the gradient of the last states, as many as the flags say. Outputs: the
    /// gradients of x, of the initial states, and of every weight in order.
    RecurrenceGradient { of: usize, inputs: [bool; 2] },
}

/// An expression over a space, some of whose last axes form rows.
#[derive(Clone, Debug)]
pub(crate) struct PointwiseOp {
    pub(crate) name: Cow<'static, str>,
    /// The sizes of the space.
    pub(crate) shape: Vec<usize>,
    /// How many axes, the last ones, form a row.
    pub(crate) folded: usize,
    /// What the body's operands are.
    pub(crate) arguments: Vec<Argument>,
    pub(crate) body: Arc<Body>,
}

/// An operand of an expression. `axes`: for each axis of the space the axis of the input that it follows; none where the input repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    /// Floats or whole numbers of the n-th input.
    Input {
        input: usize,
        axes: Vec<Option<usize>>,
    },
    /// The position of the element: that of the first, and what each axis adds.
    Position { offset: u32, strides: Vec<usize> },
    /// A random word: site, and what each axis adds to the position in its stream.
    Random { site: u32, strides: Vec<usize> },
    /// Floats of the n-th input, whose axis `along` is followed by the index − `shift` that another input gives.
    Gather {
        input: usize,
        axes: Vec<Option<usize>>,
        along: usize,
        index: usize,
        index_axes: Vec<Option<usize>>,
        shift: u32,
    },
}

impl Argument {
    /// The argument in a space whose axes are in another order.
    pub(crate) fn reordered(&self, order: &[usize]) -> Self {
        let mut argument = self.clone();
        let axes = |of: &mut Vec<Option<usize>>| *of = order.iter().map(|axis| of[*axis]).collect();
        match &mut argument {
            Self::Input { axes: of, .. } => axes(of),
            Self::Gather {
                axes: of,
                index_axes,
                ..
            } => {
                axes(of);
                axes(index_axes);
            }
            Self::Position { strides, .. } | Self::Random { strides, .. } => {
                *strides = order.iter().map(|axis| strides[*axis]).collect();
            }
        }
        argument
    }

    /// The argument in a space of which each axis follows one of its own space, or none.
    pub(crate) fn moved(&self, axes: &[Option<usize>]) -> Self {
        let mut argument = self.clone();
        let follow = |of: &mut Vec<Option<usize>>| {
            *of = axes
                .iter()
                .map(|axis| axis.and_then(|axis| of[axis]))
                .collect();
        };
        match &mut argument {
            Self::Input { axes: of, .. } => follow(of),
            Self::Gather {
                axes: of,
                index_axes,
                ..
            } => {
                follow(of);
                follow(index_axes);
            }
            Self::Position { strides, .. } | Self::Random { strides, .. } => {
                *strides = axes
                    .iter()
                    .map(|axis| axis.map_or(0, |axis| strides[axis]))
                    .collect();
            }
        }
        argument
    }

    /// Replaces the inputs' numbers.
    pub(crate) fn renumber(&mut self, mut number: impl FnMut(usize) -> usize) {
        match self {
            Self::Input { input, .. } => *input = number(*input),
            Self::Gather { input, index, .. } => {
                *input = number(*input);
                *index = number(*index);
            }
            Self::Position { .. } | Self::Random { .. } => {}
        }
    }
}

impl PointwiseOp {
    /// Leaves out the arguments that the body does not read, and replaces the inputs' numbers.
    pub(crate) fn trim(&mut self, mut number: impl FnMut(usize) -> usize) {
        let mut body = Body::clone(&self.body);
        let mut arguments: Vec<Argument> = vec![];
        for node in &mut body.nodes {
            if let Node::Operand(index) | Node::WholeOperand(index) = node {
                let mut argument = self.arguments[*index].clone();
                argument.renumber(&mut number);
                let known = arguments.iter().position(|known| *known == argument);
                *index = known.unwrap_or_else(|| {
                    arguments.push(argument);
                    arguments.len() - 1
                });
            }
        }
        self.arguments = arguments;
        self.body = Arc::new(body);
    }

    /// The sizes of the axes that form no row, and of those that do.
    pub(crate) fn split_shape(&self) -> (&[usize], &[usize]) {
        self.shape.split_at(self.shape.len() - self.folded)
    }
}
