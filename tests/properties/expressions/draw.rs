//! Expressions with all that they read and write.

use super::pool::{Family, Pool, Room, Value, layout, space};
use super::turns;
use crate::choices::Choices;
use crate::common::{rng, uniform};
use bptt::expr::{Fold, Lanes, Tape};
use bptt::program::{Operand, Pointwise, Program, Slice, View};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An expression with all it reads and writes.
pub(super) struct Draw {
    pub(super) family: Family,
    pub(super) of: Pointwise,
    pub(super) collapsed: bool,
    /// The operands that have a gradient.
    pub(super) floats: Vec<usize>,
    pub(super) differentiable: bool,
    pub(super) inputs: Vec<f32>,
    pub(super) wholes: Vec<u32>,
    pub(super) outputs: Vec<f32>,
}

/// The tensors, by the order they are added to a program.
pub(super) const TENSORS: [&str; 3] = ["inputs", "wholes", "outputs"];

pub(super) fn tensors() -> Vec<Slice> {
    let mut program = Program::new();
    TENSORS
        .iter()
        .map(|name| program.tensor(*name, &[1]))
        .collect()
}

pub(super) fn slice(tensor: usize, offset: usize, len: usize) -> Slice {
    Slice {
        offset,
        len,
        ..tensors()[tensor]
    }
}

impl Draw {
    pub(super) fn new(numbers: &[u32], seen: &mut BTreeMap<String, usize>) -> Self {
        let choices = &mut Choices::new(numbers);
        let family = choices.of(&[Family::Map, Family::Row, Family::Reduce]);
        let shape = space(choices);
        let rank = shape.len();
        let folded = match family {
            Family::Map => 0,
            _ => 1 + choices.below(rank),
        };
        let kept = rank - folded;
        let differentiable = !choices.chance(20);
        let mut rng = rng(numbers
            .iter()
            .fold(1, |seed, number| seed * 31 % 1_000_003 + u64::from(*number)));
        let (mut inputs, mut wholes, mut outputs) =
            (Room::default(), Room::default(), Room::default());

        // Operands.
        let mut operands = vec![];
        let mut floats = vec![];
        let mut in_place = None;
        let mut whole_bounds = vec![];
        for index in 0..1 + choices.below(5) {
            let kind = if index == 0 { 0 } else { choices.below(8) };
            let mut follows: Vec<bool> = (0..rank).map(|_| !choices.chance(25)).collect();
            let name = match kind {
                0..=3 => {
                    floats.push(index);
                    // One that is written where it is read.
                    let own = in_place.is_none() && choices.chance(20);
                    if own {
                        follows.fill(true);
                    }
                    let (strides, extent) = layout(choices, &shape, &follows);
                    let room = if own { &mut outputs } else { &mut inputs };
                    let first = room.take(extent, choices.below(3), 7.5);
                    let values = uniform(&mut rng, extent, 1.5);
                    room.values[first..].copy_from_slice(&values);
                    let view = View::new(slice(if own { 2 } else { 0 }, first, extent), strides);
                    if own {
                        in_place = Some((index, view.clone()));
                    }
                    operands.push(Operand::Float(view));
                    whole_bounds.push(None);
                    if follows.contains(&false) {
                        "repeats"
                    } else {
                        "float"
                    }
                }
                4 => {
                    floats.push(index);
                    let len = 1 + choices.below(5);
                    let (of_index, extent_index) = layout(choices, &shape, &follows);
                    let first_index = wholes.take(extent_index, 0, 0);
                    let shift = choices.below(2) as u32;
                    for whole in &mut wholes.values[first_index..] {
                        *whole = rng.random_range(0..len as u32 + 2);
                    }
                    let others: Vec<bool> = (0..rank).map(|_| !choices.chance(50)).collect();
                    let (strides, extent) = layout(choices, &shape, &others);
                    let stride = extent + choices.below(2);
                    let extent = extent + (len - 1) * stride;
                    let first = inputs.take(extent, choices.below(3), 7.5);
                    inputs.values[first..].copy_from_slice(&uniform(&mut rng, extent, 1.5));
                    operands.push(Operand::Gather {
                        view: View::new(slice(0, first, extent), strides),
                        index: View::new(slice(1, first_index, extent_index), of_index),
                        shift,
                        stride,
                        len,
                    });
                    whole_bounds.push(None);
                    "gather"
                }
                5 => {
                    let (strides, extent) = layout(choices, &shape, &follows);
                    let first = wholes.take(extent, choices.below(3), 0);
                    for whole in &mut wholes.values[first..] {
                        *whole = rng.random_range(0..9);
                    }
                    operands.push(Operand::Whole(View::new(slice(1, first, extent), strides)));
                    whole_bounds.push(Some(9.0));
                    "whole"
                }
                6 => {
                    let strides: Vec<_> = follows
                        .iter()
                        .map(|follows| usize::from(*follows) * choices.below(4))
                        .collect();
                    let offset = choices.below(5);
                    let most = shape
                        .iter()
                        .zip(&strides)
                        .map(|(size, stride)| size * stride)
                        .sum::<usize>();
                    operands.push(Operand::Position { offset, strides });
                    whole_bounds.push(Some((most + offset) as f64));
                    "position"
                }
                _ => {
                    let (strides, _) = layout(choices, &shape, &follows);
                    let first = wholes.take(4, choices.below(3), 0);
                    wholes.values[first..].fill_with(|| rng.random());
                    operands.push(Operand::Random {
                        rng: slice(1, first, 4),
                        site: choices.below(3) as u32,
                        offset: choices.below(7),
                        strides,
                    });
                    whole_bounds.push(Some(4_294_967_296.0));
                    "random"
                }
            };
            *seen.entry(name.to_owned()).or_insert(0) += 1;
        }

        // The expression.
        let tape = Tape::new();
        let (mut all, mut of_row) = (
            Pool {
                values: vec![],
                wholes: vec![],
            },
            Pool {
                values: vec![],
                wholes: vec![],
            },
        );
        for (index, (operand, bound)) in operands.iter().zip(&whole_bounds).enumerate() {
            let strides: Vec<&Vec<usize>> = match operand {
                Operand::Float(view) | Operand::Whole(view) => vec![&view.strides],
                Operand::Position { strides, .. } | Operand::Random { strides, .. } => {
                    vec![strides]
                }
                Operand::Gather { view, index, .. } => vec![&view.strides, &index.strides],
            };
            let is_written = in_place.as_ref().is_some_and(|(of, _)| *of == index);
            let constant = !is_written
                && strides
                    .iter()
                    .all(|strides| strides[kept..].iter().all(|stride| *stride == 0));
            match bound {
                Some(bound) => {
                    all.wholes.push((tape.whole_operand(index), *bound));
                    if constant {
                        of_row.wholes.push((tape.whole_operand(index), *bound));
                    }
                }
                None => {
                    all.values.push(Value(tape.operand(index), 1.5));
                    if constant {
                        of_row.values.push(Value(tape.operand(index), 1.5));
                    }
                }
            }
        }
        let columns: usize = shape[kept..].iter().product();
        let scale = 1.0 / columns as f64;
        for _ in 0..1 + choices.below(8) {
            all.step(choices, seen);
            if family == Family::Row && choices.chance(40) {
                let Value(x, bound) = all.pick(choices);
                let sum = |of| tape.statistic(Fold::Sum, of);
                let (name, value) = match choices.below(if differentiable { 3 } else { 4 }) {
                    0 => {
                        let mean = Value(sum(x) * scale, bound);
                        of_row.values.push(mean);
                        ("mean", mean)
                    }
                    1 => {
                        let e = (x - tape.statistic(Fold::Max, x)).exp();
                        ("softmax", Value(e / sum(e), 1.0))
                    }
                    2 => {
                        let most = tape.statistic(Fold::Max, x);
                        let all = Value(
                            sum((x - most).exp()).ln() + most,
                            bound + (columns as f64).ln(),
                        )
                        .tame();
                        of_row.values.push(all);
                        ("logsumexp", all)
                    }
                    _ => {
                        let most = Value(tape.statistic(Fold::Max, x), bound);
                        of_row.values.push(most);
                        ("largest", most)
                    }
                };
                *seen.entry(name.to_owned()).or_insert(0) += 1;
                all.values.push(value);
            }
        }
        let mut element_count = choices.below(3);
        let mut result_count = choices.below(3);
        match family {
            Family::Map => (element_count, result_count) = (element_count + 1, 0),
            Family::Reduce => {
                result_count += 1;
                for _ in 0..1 + choices.below(3) {
                    let Value(x, bound) = all.pick(choices);
                    of_row
                        .values
                        .push(Value(tape.statistic(Fold::Sum, x) * scale, bound));
                }
            }
            Family::Row => element_count += usize::from(element_count + result_count == 0),
        }
        if family == Family::Row && of_row.values.is_empty() && result_count > 0 {
            let Value(x, bound) = all.pick(choices);
            of_row
                .values
                .push(Value(tape.statistic(Fold::Sum, x) * scale, bound));
        }
        if result_count > 0 {
            for _ in 0..choices.below(4) {
                of_row.step(choices, seen);
            }
        }
        element_count = element_count.max(usize::from(in_place.is_some()));
        let elements: Vec<_> = (0..element_count).map(|_| all.pick(choices).0).collect();
        let results: Vec<_> = (0..result_count).map(|_| of_row.pick(choices).0).collect();
        let body = tape.finish(&elements, &results);
        *seen.entry(format!("turns {}", turns(&body))).or_insert(0) += 1;

        // Where it goes.
        let mut place = |choices: &mut Choices<'_>, shape: &[usize]| {
            let (strides, extent) = layout(choices, shape, &vec![true; shape.len()]);
            let first = outputs.take(extent, choices.below(3), 7.5);
            View::new(slice(2, first, extent), strides)
        };
        let mut views: Vec<_> = (0..element_count).map(|_| place(choices, &shape)).collect();
        if let Some((_, view)) = in_place.filter(|_| element_count > 0) {
            views[0] = view;
            *seen.entry("in place".to_owned()).or_insert(0) += 1;
        }
        let results = (0..result_count)
            .map(|_| place(choices, &shape[..kept]))
            .collect();
        let of = Pointwise {
            name: "drawn".into(),
            shape,
            folded,
            operands,
            body: Arc::new(body),
            elements: views,
            results,
        };
        wholes.take(1, 0, 0);
        inputs.take(1, 0, 7.5);
        let mut draw = Self {
            family,
            of,
            collapsed: choices.chance(70),
            floats,
            differentiable,
            inputs: inputs.values,
            wholes: wholes.values,
            outputs: outputs.values,
        };
        draw.poison();
        draw
    }
}
