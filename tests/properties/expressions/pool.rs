//! What expressions are drawn from: values of known size, spaces, layouts.

use crate::choices::Choices;
use bptt::expr::{Expr, Lanes, WholeExpr};
use std::collections::BTreeMap;

/// The largest value.
pub(super) const BOUND: f64 = 4.0;

/// Elements of a space, at most.
pub(super) const MOST: usize = 3000;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Family {
    Map,
    Row,
    Reduce,
}

/// A value and the largest magnitude it may have.
#[derive(Clone, Copy)]
pub(super) struct Value<'t>(pub(super) Expr<'t>, pub(super) f64);

impl Value<'_> {
    pub(super) fn tame(self) -> Self {
        if self.1 > BOUND {
            Self(self.0 * (2.0 / self.1), 2.0)
        } else {
            self
        }
    }
}

/// What an expression may read.
pub(super) struct Pool<'t> {
    pub(super) values: Vec<Value<'t>>,
    /// Whole numbers, and the largest each may be.
    pub(super) wholes: Vec<(WholeExpr<'t>, f64)>,
}

impl<'t> Pool<'t> {
    pub(super) fn pick(&self, choices: &mut Choices<'_>) -> Value<'t> {
        self.values[self.values.len() - 1 - choices.below(self.values.len())]
    }

    /// One more value, of what is there.
    pub(super) fn step(&mut self, choices: &mut Choices<'_>, seen: &mut BTreeMap<String, usize>) {
        let (a, b, c) = (self.pick(choices), self.pick(choices), self.pick(choices));
        let (Value(x, most), Value(y, most_y), Value(z, most_z)) = (a, b, c);
        let larger = most_y.max(most_z);
        let tamed = if most > 3.0 { x.tanh() } else { x };
        let (name, value, bound) = match choices.below(20) {
            0 => ("add", x + y, most + most_y),
            1 => ("sub", x - y, most + most_y),
            2 => ("mul", x * y, most * most_y),
            3 => ("div", x / (y * y + 0.5), most / 0.5),
            4 => ("neg", -x, most),
            5 => ("abs", x.abs(), most),
            6 => ("sqrt", (x * x + 0.25).sqrt(), most + 0.5),
            7 => ("exp", tamed.exp() * 0.1, 2.1),
            8 => ("exp_m1", tamed.exp_m1() * 0.1, 2.1),
            9 => ("ln", (x.abs() + 0.2).ln(), 1.7_f64.max((most + 0.2).ln())),
            10 => ("softplus", x.softplus(), most + 0.7),
            11 => ("sigmoid", x.sigmoid(), 1.0),
            12 => ("tanh", x.tanh(), 1.0),
            13 => ("erf", x.erf(), 1.0),
            14 => ("where_positive", x.where_positive(y, z), larger),
            15 => ("max", x.max(y), most.max(most_y)),
            16 => ("min", x.min(y), most.max(most_y)),
            17 => {
                let factor = choices.of(&[0.7, -1.0, 0.5, 1.0, 0.0, -1.3]);
                (
                    "constant",
                    x * factor + choices.of(&[0.3, 0.0, -1.0]),
                    1.3 * most + 1.0,
                )
            }
            relation => match self.wholes[..] {
                [] => ("complement", x.complement(), most + 1.0),
                _ => {
                    let (first, most_first) = self.wholes[choices.below(self.wholes.len())];
                    let (second, _) = self.wholes[choices.below(self.wholes.len())];
                    // Half of the numbers are below that.
                    let other = match choices.below(2) {
                        0 => first.constant((most_first / 2.0) as u32),
                        _ => second,
                    };
                    if relation == 18 {
                        let yes = first.to_float() * (1.0 / most_first.max(1.0));
                        ("less", first.less(other, yes * y, z), larger)
                    } else {
                        ("equal", first.equal(other, x, z), most.max(most_z))
                    }
                }
            },
        };
        *seen.entry(name.to_owned()).or_insert(0) += 1;
        self.values.push(Value(value, bound).tame());
    }
}

/// A tensor under construction.
#[derive(Default)]
pub(super) struct Room<T> {
    pub(super) values: Vec<T>,
}

impl<T: Clone> Room<T> {
    pub(super) fn take(&mut self, len: usize, gap: usize, fill: T) -> usize {
        let first = self.values.len() + gap;
        self.values.resize(first + len, fill);
        first
    }
}

/// Strides of some axes of a space in a random order, with gaps; and the extent.
pub(super) fn layout(
    choices: &mut Choices<'_>,
    shape: &[usize],
    follows: &[bool],
) -> (Vec<usize>, usize) {
    let mut axes: Vec<usize> = (0..shape.len()).filter(|axis| follows[*axis]).collect();
    for index in 1..axes.len() {
        // Mostly in order.
        if choices.chance(30) {
            axes.swap(index, index - 1);
        }
    }
    let mut strides = vec![0; shape.len()];
    let (mut stride, mut extent) = (1 + usize::from(choices.chance(15)), 1);
    for axis in axes.into_iter().rev() {
        strides[axis] = stride;
        extent += (shape[axis] - 1) * stride;
        stride = stride * shape[axis] + choices.of(&[0, 0, 0, 1, 3]);
    }
    (strides, extent)
}

pub(super) fn space(choices: &mut Choices<'_>) -> Vec<usize> {
    let rank = 1 + choices.below(4);
    let mut shape = vec![];
    for _ in 0..rank {
        let room = MOST / shape.iter().product::<usize>();
        let sizes = [1, 2, 3, 5, 7, 17, 33, 65, 130, 257, 1025];
        let fits = sizes.iter().filter(|size| **size <= room).count();
        shape.push(sizes[choices.below(fits.min(if rank > 2 { 6 } else { 11 }))]);
    }
    shape
}
