//! What must hold of an expression over tensors, and what it takes.

use super::operands::{Access, Check, Operands, check_count, ensure};
use super::{Cost, MOST_ELEMENTS, Map, Operand, Pointwise, Reduce, Row, View, product};
use crate::expr::Node;
use crate::philox::RNG_LEN;

/// The most operands and outputs of an expression.
pub(crate) const MOST_OPERANDS: usize = 20;
pub(crate) const MOST_OUTPUTS: usize = 8;

impl Map {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        let Pointwise {
            folded,
            results,
            body,
            ..
        } = &self.0;
        let has_rows = *folded > 0 || !results.is_empty() || !body.statistics.is_empty();
        ensure(!has_rows, || "a map has rows".into())?;
        self.0.check(o)
    }
}

impl Row {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        ensure(self.0.folded > 0, || "no axis forms a row".into())?;
        self.0.check(o)
    }
}

impl Reduce {
    pub(super) fn check(&self, o: &mut Operands<'_>) -> Check {
        ensure(self.0.sums_once(), || {
            "a sum, or an element, uses a sum, or is none".into()
        })?;
        self.0.check(o)
    }
}

/// `Ok` where there is a stride for each axis, none past the elements of any tensor: even one that is not followed is multiplied.
fn check_strides(name: &str, strides: &[usize], rank: usize) -> Check {
    ensure(strides.len() == rank, || {
        format!("{name} has {} strides, not {rank}", strides.len())
    })?;
    match strides.iter().find(|stride| **stride > MOST_ELEMENTS) {
        Some(stride) => Err(format!("{name} has a stride of {stride}")),
        None => Ok(()),
    }
}

/// `Ok` where the last of the numbers that a space's elements get can be counted.
fn check_numbers(name: &str, shape: &[usize], offset: usize, strides: &[usize]) -> Check {
    check_strides(name, strides, shape.len())?;
    let steps = shape.iter().zip(strides);
    let last = steps.fold(offset, |last, (size, stride)| {
        last.saturating_add(size.saturating_sub(1).saturating_mul(*stride))
    });
    ensure(last <= MOST_ELEMENTS, || {
        format!("{name} counts to {last}, past {MOST_ELEMENTS}")
    })
}

impl Pointwise {
    fn check(&self, o: &mut Operands<'_>) -> Check {
        let (rank, folded) = (self.shape.len(), self.folded);
        ensure(folded <= rank, || {
            format!("{folded} axes of {rank} form rows")
        })?;
        let (elements, results) = (self.elements.len(), self.results.len());
        let computed = (self.body.elements.len(), self.body.results.len());
        ensure(computed == (elements, results), || {
            let (of_body, by_row) = computed;
            format!(
                "{elements} elements and {results} results, of which the body computes {of_body} and {by_row}"
            )
        })?;
        let (operands, outputs) = (self.operands.len(), elements + results);
        ensure(operands <= MOST_OPERANDS && outputs <= MOST_OUTPUTS, || {
            format!(
                "{operands} operands and {outputs} outputs, more than {MOST_OPERANDS} and {MOST_OUTPUTS}"
            )
        })?;
        self.check_body()?;
        check_count("its space", &self.shape)?;
        for (index, operand) in self.operands.iter().enumerate() {
            self.check_operand(o, index, operand)?;
        }
        let (kept, _) = self.split_shape();
        let elements = self.elements.iter().map(|view| (view, &self.shape[..]));
        let results = self.results.iter().map(|view| (view, kept));
        for (index, (view, shape)) in elements.chain(results).enumerate() {
            let name = format!("output {index}");
            check_strides(&name, &view.strides, shape.len())?;
            let repeats = |axis: &usize| shape[*axis] > 1 && view.strides[*axis] == 0;
            if let Some(axis) = (0..shape.len()).find(repeats) {
                return Err(format!(
                    "{name} is written more than once, along axis {axis}"
                ));
            }
            o.add(Access::Beside, name, view.extent(shape))?;
        }
        Ok(())
    }

    fn check_operand(&self, o: &mut Operands<'_>, index: usize, operand: &Operand) -> Check {
        let name = format!("operand {index}");
        let extent = |view: &View| {
            check_strides(&name, &view.strides, self.shape.len())?;
            Ok::<_, String>(view.extent(&self.shape))
        };
        match operand {
            Operand::Float(view) | Operand::Whole(view) => {
                let slice = extent(view)?;
                let access = match self.in_place(index) {
                    Some(_) => Access::ReadInPlace,
                    None => Access::Read,
                };
                o.add(access, name, slice)
            }
            Operand::Position { offset, strides } => {
                check_numbers(&name, &self.shape, *offset, strides)
            }
            Operand::Random {
                rng,
                offset,
                strides,
                ..
            } => {
                check_numbers(&name, &self.shape, *offset, strides)?;
                o.read(name, *rng, RNG_LEN)
            }
            Operand::Gather {
                view,
                index,
                stride,
                len,
                ..
            } => {
                let (mut table, index) = (extent(view)?, extent(index)?);
                let Some(more) = len.checked_sub(1) else {
                    return Err(format!("{name} has no index"));
                };
                check_strides(&name, &[*stride], 1)?;
                check_count(&name, &[*len])?;
                table.len = table.len.saturating_add(more.saturating_mul(*stride));
                o.add(Access::Read, name.clone(), table)?;
                o.add(Access::Read, name, index)
            }
        }
    }

    /// The nodes of the body read what is there, and of the right kind.
    fn check_body(&self) -> Check {
        let body = &self.body;
        for (id, node) in body.nodes.iter().enumerate() {
            let mut fits = match node {
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
            node.for_each_source(|source| fits &= source < id);
            ensure(fits, || {
                format!("node {id} of the body, {node:?}, reads what is not there")
            })?;
        }
        match body.roots().find(|root| *root >= body.nodes.len()) {
            Some(root) => Err(format!("node {root} of the body is not there")),
            None => Ok(()),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        let len = self.len() as f64;
        let size = |strides: &[usize]| {
            let axes = self.shape.iter().zip(strides);
            let followed = axes.filter(|(_, stride)| **stride > 0);
            followed.map(|(size, _)| *size as f64).product::<f64>()
        };
        let read = self.operands.iter().map(|operand| match operand {
            Operand::Float(view) | Operand::Whole(view) => size(&view.strides),
            Operand::Position { .. } => 0.0,
            Operand::Random { .. } => RNG_LEN as f64,
            Operand::Gather { index, .. } => size(&index.strides) + len,
        });
        let results = product(self.split_shape().0) as f64 * self.results.len() as f64;
        let written = len * self.elements.len() as f64 + results;
        let flops = self.body.flops() + self.body.statistics.len();
        Cost::new(flops as f64 * len, read.sum(), written)
    }
}
