//! Expressions over a space whose operands follow its axes each in their own way.

use super::scope::Scope;
use crate::expr::{Expr, Tape, WholeExpr};
use crate::graph::{Argument, Gather, PointwiseOp, Var, follow};
use std::borrow::Cow;
use std::sync::Arc;

/// For each axis of a space the axis of a value that it follows; none where the value repeats.
pub(crate) type Axes = Vec<Option<usize>>;

/// An expression under way, whose operands are added as they are needed.
pub(crate) struct Space<'t> {
    tape: &'t Tape,
    shape: Vec<usize>,
    inputs: Vec<Var>,
    arguments: Vec<Argument>,
    lengths: Option<Var>,
}

impl<'t> Space<'t> {
    pub(crate) fn new(tape: &'t Tape, shape: &[usize]) -> Self {
        Self {
            tape,
            shape: shape.to_vec(),
            inputs: vec![],
            arguments: vec![],
            lengths: None,
        }
    }

    /// Says which lengths the result has.
    pub(crate) fn with_lengths(mut self, lengths: Option<Var>) -> Self {
        self.lengths = lengths;
        self
    }

    fn input(&mut self, var: Var) -> usize {
        self.inputs.push(var);
        self.inputs.len() - 1
    }

    fn argument(&mut self, argument: Argument) -> usize {
        self.arguments.push(argument);
        self.arguments.len() - 1
    }

    /// A value of the space's shape.
    pub(crate) fn element(&mut self, var: Var) -> Expr<'t> {
        let axes = follow(&self.shape, &self.shape);
        self.float(var, axes)
    }

    /// A value of floats.
    pub(crate) fn float(&mut self, var: Var, axes: Axes) -> Expr<'t> {
        let input = self.input(var);
        self.tape
            .operand(self.argument(Argument::Input { input, axes }))
    }

    /// A value of whole numbers.
    pub(crate) fn whole(&mut self, var: Var, axes: Axes) -> WholeExpr<'t> {
        let input = self.input(var);
        self.tape
            .whole_operand(self.argument(Argument::Input { input, axes }))
    }

    /// A value of one float.
    pub(crate) fn scalar(&mut self, var: Var) -> Expr<'t> {
        let axes = vec![None; self.shape.len()];
        self.float(var, axes)
    }

    /// The place along an axis.
    pub(crate) fn position(&mut self, axis: usize) -> WholeExpr<'t> {
        let mut strides = vec![0; self.shape.len()];
        strides[axis] = 1;
        let position = Argument::Position { offset: 0, strides };
        self.tape.whole_operand(self.argument(position))
    }

    /// A random word of a site; `strides`: what each axis adds to the position in its stream.
    pub(crate) fn random(&mut self, site: u32, strides: Vec<usize>) -> WholeExpr<'t> {
        let random = Argument::Random { site, strides };
        self.tape.whole_operand(self.argument(random))
    }

    /// A value whose first axis is followed by what another one says, less `shift`.
    pub(crate) fn gather(
        &mut self,
        table: (Var, Axes),
        index: (Var, Axes),
        shift: u32,
    ) -> Expr<'t> {
        let gather = Argument::Gather(Gather {
            input: self.input(table.0),
            axes: table.1,
            along: 0,
            index: self.input(index.0),
            index_axes: index.1,
            shift,
        });
        self.tape.operand(self.argument(gather))
    }

    /// The steps that each row has, of its lengths where there are any; time and batch are these axes.
    pub(crate) fn steps(&mut self, lengths: Option<Var>, time: usize, batch: usize) -> Steps<'t> {
        let place = lengths.map(|lengths| {
            let mut axes = vec![None; self.shape.len()];
            axes[batch] = (self.shape[batch] > 1).then_some(0);
            [self.position(time), self.whole(lengths, axes)]
        });
        Steps {
            tape: self.tape,
            place,
            all: self.shape.get(time).copied().unwrap_or(1),
        }
    }

    /// The expression at every element.
    pub(crate) fn map(self, s: &mut Scope<'_>, name: &'static str, of: Expr<'t>) -> Var {
        self.push(s, name, 0, (&[of], &[]))[0]
    }

    /// The expression of every row, which the last `folded` axes form.
    pub(crate) fn fold(
        self,
        s: &mut Scope<'_>,
        name: &'static str,
        folded: usize,
        of: Expr<'t>,
    ) -> Var {
        self.folds(s, name, folded, &[of])[0]
    }

    /// Several expressions of every row.
    pub(crate) fn folds(
        self,
        s: &mut Scope<'_>,
        name: &'static str,
        folded: usize,
        of: &[Expr<'t>],
    ) -> Vec<Var> {
        self.push(s, name, folded, (&[], of))
    }

    fn push(
        self,
        s: &mut Scope<'_>,
        name: &'static str,
        folded: usize,
        (elements, results): (&[Expr<'t>], &[Expr<'t>]),
    ) -> Vec<Var> {
        let op = PointwiseOp {
            name: Cow::Borrowed(name),
            shape: self.shape,
            folded,
            arguments: self.arguments,
            body: Arc::new(self.tape.finish(elements, results)),
            lengths: None,
        };
        s.graph().pointwise(op, self.inputs, self.lengths)
    }
}

/// Which steps a row has.
pub(crate) struct Steps<'t> {
    tape: &'t Tape,
    /// The step and the row's length, of ragged sequences.
    place: Option<[WholeExpr<'t>; 2]>,
    /// T
    all: usize,
}

impl<'t> Steps<'t> {
    /// `yes` at the steps that the row has, else `no`.
    pub(crate) fn valid(&self, yes: Expr<'t>, no: f64) -> Expr<'t> {
        match self.place {
            Some([step, length]) => step.less(length, yes, self.tape.constant(no)),
            None => yes,
        }
    }

    /// How many steps the row has.
    pub(crate) fn count(&self) -> Expr<'t> {
        match self.place {
            Some([_, length]) => length.to_float(),
            None => self.tape.constant(self.all as f64),
        }
    }
}
