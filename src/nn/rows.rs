//! Expressions of rows, the last axis of values.

use super::scope::Scope;
use super::space::Space;
use crate::error::{Error, Result, check_shape};
use crate::expr::{Expr, Fold, Tape, WholeExpr};
use crate::graph::{Dtype, Type, Var, follow};

/// A row of a recording, see [`Scope::rows`].
#[derive(Clone, Copy, Debug)]
pub struct RowOf<'t> {
    tape: &'t Tape,
    columns: usize,
}

impl<'t> RowOf<'t> {
    /// The sum of an expression over the row.
    pub fn sum(&self, of: Expr<'t>) -> Expr<'t> {
        self.tape.statistic(Fold::Sum, of)
    }

    /// The mean of an expression over the row.
    pub fn mean(&self, of: Expr<'t>) -> Expr<'t> {
        self.sum(of) * (1.0 / self.columns as f64)
    }

    /// `yes` at the place of a class in its row, else `no`; in [`Scope::fold_rows_of_class`].
    pub fn is(&self, class: WholeExpr<'t>, yes: Expr<'t>, no: Expr<'t>) -> Expr<'t> {
        self.tape.whole_operand(2).equal(class, yes, no)
    }

    /// The largest value of an expression over the row, whose gradient is taken for 0.
    pub fn max(&self, of: Expr<'t>) -> Expr<'t> {
        self.tape.statistic(Fold::Max, of)
    }
}

impl Scope<'_> {
    /// An expression of each row, the last axis: `s.rows("softmax", [x], |row, [x]| { let e = (x - row.max(x)).exp(); e / row.sum(e) })`.
    /// Errors as [`Scope::map`].
    pub fn rows<const N: usize>(
        &mut self,
        name: &'static str,
        of: [Var; N],
        f: impl for<'t> FnOnce(RowOf<'t>, [Expr<'t>; N]) -> Expr<'t>,
    ) -> Result<Var> {
        self.of_rows(name, of, false, f)
    }

    /// A number of each row, the last axis, which goes: `s.fold_rows("norm", [x], |row, [x]| row.sum(x * x).sqrt())`.
    /// Errors as [`Scope::map`].
    pub fn fold_rows<const N: usize>(
        &mut self,
        name: &'static str,
        of: [Var; N],
        f: impl for<'t> FnOnce(RowOf<'t>, [Expr<'t>; N]) -> Expr<'t>,
    ) -> Result<Var> {
        self.of_rows(name, of, true, f)
    }

    fn of_rows<const N: usize>(
        &mut self,
        name: &'static str,
        of: [Var; N],
        folds: bool,
        f: impl for<'t> FnOnce(RowOf<'t>, [Expr<'t>; N]) -> Expr<'t>,
    ) -> Result<Var> {
        self.check_floats(&of)?;
        if of.iter().all(|var| self.shape(*var).is_empty()) {
            let expected = "[…, N], of which the last axis is a row";
            return Err(Error::shape(name, &[], expected));
        }
        let columns = of.iter().map(|var| self.ty(*var).features()).max();
        let tape = Tape::new();
        let row = RowOf {
            tape: &tape,
            columns: columns.unwrap_or(1),
        };
        let y = [f(row, std::array::from_fn(|index| tape.operand(index)))];
        let body = match folds {
            true => tape.finish(&[], &y),
            false => tape.finish(&y, &[]),
        };
        Ok(self.graph().broadcast(name, &of, 1, body, vec![])?[0])
    }

    /// A number of each row, the last axis, and of the row's class, a whole number: what cross-entropies and accuracies are made
    /// of. x: `[…, N]`; classes: `[…]`; gives `[…]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is not one class a row, [`Error::Argument`] where classes are floats.
    pub fn fold_rows_of_class(
        &mut self,
        name: &'static str,
        x: Var,
        classes: Var,
        f: impl for<'t> FnOnce(RowOf<'t>, Expr<'t>, WholeExpr<'t>) -> Expr<'t>,
    ) -> Result<Var> {
        self.check_floats(&[x])?;
        let graph = self.graph();
        graph.check_dtype("classes", classes, Dtype::Index)?;
        let Type { shape, lengths, .. } = graph.ty(x).clone();
        let Some(rank) = shape.len().checked_sub(1) else {
            return Err(Error::shape(
                name,
                &shape,
                "[…, N], a number for each class",
            ));
        };
        check_shape("classes", graph.shape(classes), &shape[..rank])?;
        let mut of_class = follow(&shape[..rank], &shape[..rank]);
        of_class.push(None);
        let tape = Tape::new();
        let mut space = Space::new(&tape, &shape).with_lengths(lengths);
        let (x, class) = (space.element(x), space.whole(classes, of_class));
        // The operand that `RowOf::is` compares with a class.
        space.position(rank);
        let row = RowOf {
            tape: &tape,
            columns: shape[rank],
        };
        let y = f(row, x, class);
        Ok(space.fold(self, name, 1, y))
    }
}
