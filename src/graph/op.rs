//! The operations of a graph.

use super::Var;
use super::recurrence::Recurrence;
use crate::expr::{Body, Node, place_in};
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
    /// The gradient of the recurrent layer at a node. Inputs: d_y and the gradient of the last states, as many as the flags say. Outputs: the
    /// gradients of x, of the initial states, and of every weight in order.
    RecurrenceGradient { of: usize, inputs: [bool; 2] },
}

impl Op {
    /// The axis along which the inputs of a concatenation or a padded value lie one behind the other, and where the first starts.
    pub(crate) fn parts(&self) -> Option<(usize, usize)> {
        match *self {
            Self::Concat { axis } => Some((axis, 0)),
            Self::Pad { axis, start } => Some((axis, start)),
            _ => None,
        }
    }
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
    /// The lengths past which the expression gives 0, and its gradient is 0; the first axes are time and the batch then.
    pub(crate) lengths: Option<Var>,
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
    /// Floats of a value at indices.
    Gather(Gather),
}

/// Floats of the n-th input, whose axis `along` is followed by the index − `shift` that another input gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gather {
    pub(crate) input: usize,
    pub(crate) axes: Vec<Option<usize>>,
    pub(crate) along: usize,
    pub(crate) index: usize,
    pub(crate) index_axes: Vec<Option<usize>>,
    pub(crate) shift: u32,
}

impl Argument {
    /// The n-th input, which follows axes of the space.
    pub(crate) fn input(input: usize, axes: impl Into<Vec<Option<usize>>>) -> Self {
        let axes = axes.into();
        Self::Input { input, axes }
    }

    /// Says whether the argument reads the n-th input.
    pub(crate) fn reads(&self, input: usize) -> bool {
        match self {
            Self::Input { input: of, .. } => *of == input,
            Self::Gather(of) => of.input == input || of.index == input,
            Self::Position { .. } | Self::Random { .. } => false,
        }
    }

    /// The argument in a space of which each axis follows one of its own space, or none.
    pub(crate) fn moved(&self, axes: &[Option<usize>]) -> Self {
        fn follow<T: Copy + Default>(of: &mut Vec<T>, axes: &[Option<usize>]) {
            let own = |axis: &Option<usize>| axis.map_or(T::default(), |axis| of[axis]);
            *of = axes.iter().map(own).collect();
        }
        let mut argument = self.clone();
        match &mut argument {
            Self::Input { axes: of, .. } => follow(of, axes),
            Self::Gather(of) => {
                follow(&mut of.axes, axes);
                follow(&mut of.index_axes, axes);
            }
            Self::Position { strides, .. } | Self::Random { strides, .. } => follow(strides, axes),
        }
        argument
    }

    /// Replaces the inputs' numbers.
    pub(crate) fn renumber(&mut self, mut number: impl FnMut(usize) -> usize) {
        match self {
            Self::Input { input, .. } => *input = number(*input),
            Self::Gather(of) => (of.input, of.index) = (number(of.input), number(of.index)),
            Self::Position { .. } | Self::Random { .. } => {}
        }
    }
}

impl PointwiseOp {
    /// An expression over a space whose last axes, `folded` of them, form rows.
    pub(crate) fn new(
        name: impl Into<Cow<'static, str>>,
        shape: &[usize],
        folded: usize,
        arguments: Vec<Argument>,
        body: Body,
    ) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            folded,
            arguments,
            body: Arc::new(body),
            lengths: None,
        }
    }

    /// The same with some axes behind the others, where they form rows.
    pub(super) fn folded_along(self, axes: &[usize]) -> Self {
        let (folded, kept): (Vec<usize>, Vec<usize>) =
            (0..self.shape.len()).partition(|axis| axes.contains(axis));
        let order = [&kept[..], &folded].concat();
        let moved: Vec<_> = order.iter().copied().map(Some).collect();
        Self {
            shape: order.iter().map(|axis| self.shape[*axis]).collect(),
            folded: folded.len(),
            arguments: self.arguments.iter().map(|of| of.moved(&moved)).collect(),
            lengths: None,
            ..self
        }
    }

    /// Leaves out the arguments that the body does not read, and returns those of some inputs that the others read.
    pub(super) fn trim(&mut self, inputs: &[Var]) -> Vec<Var> {
        let mut body = Body::clone(&self.body);
        let (mut arguments, mut used) = (vec![], vec![]);
        for node in &mut body.nodes {
            if let Node::Operand(index) | Node::WholeOperand(index) = node {
                let mut argument = self.arguments[*index].clone();
                argument.renumber(|input| place_in(&mut used, inputs[input]));
                *index = place_in(&mut arguments, argument);
            }
        }
        self.arguments = arguments;
        self.body = Arc::new(body);
        used
    }

    /// The sizes of the axes that form no row, and of those that do.
    pub(crate) fn split_shape(&self) -> (&[usize], &[usize]) {
        self.shape.split_at(self.shape.len() - self.folded)
    }
}

/// The order of axes that undoes another.
pub(crate) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (to, from) in order.iter().enumerate() {
        inverse[*from] = to;
    }
    inverse
}
