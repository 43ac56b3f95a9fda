//! Random expressions over random spaces: maps, rows with statistics of statistics, sums; operands of any strides that repeat along any
//! axes, gathered ones, whole numbers, positions, random words; outputs with gaps between their elements, or where an operand is.
//!
//! Values stay within ±4 and denominators, roots and logarithms away from 0, so that a relative tolerance means something.

mod draw;
mod forms;
mod pool;

use crate::choices::{Results, check_differences, check_fit, check_single, failed, run};
use crate::common::Case;
use bptt::Device;
use bptt::expr::Body;
use bptt::program::{Operand, TensorId, View};
use draw::{Draw, tensors};
use pool::Family;
use proptest::test_runner::{TestCaseError, TestCaseResult};
use std::collections::BTreeMap;

/// Statistics, one after the other, that the longest chain has.
fn turns(body: &Body) -> usize {
    let mut of_statistic: Vec<usize> = vec![];
    for (_, root) in &body.statistics {
        let mut needed = vec![*root];
        let mut turn = 0;
        while let Some(id) = needed.pop() {
            use bptt::expr::Node;
            match body.nodes[id] {
                Node::Statistic(index) => turn = turn.max(of_statistic[index] + 1),
                Node::Apply(_, x) | Node::Float(x) => needed.push(x),
                Node::Combine(_, of) => needed.extend(of),
                Node::WherePositive(of) => needed.extend(of),
                Node::Where(_, of) => needed.extend(of),
                _ => {}
            }
        }
        of_statistic.push(turn);
    }
    of_statistic.iter().max().map_or(0, |turn| turn + 1)
}

/// Every place of a space, in row-major order.
fn each(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let mut place = vec![0; shape.len()];
    for _ in 0..shape.iter().product() {
        visit(&place);
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            if place[axis] < shape[axis] {
                break;
            }
            place[axis] = 0;
        }
    }
}

fn at(view: &View, place: &[usize]) -> usize {
    view.offset
        + view
            .strides
            .iter()
            .zip(place)
            .map(|(stride, index)| stride * index)
            .sum::<usize>()
}

fn check(
    numbers: &[u32],
    devices: &[Device],
    seen: &mut BTreeMap<String, usize>,
) -> TestCaseResult {
    let draw = Draw::new(numbers, seen);
    check_draw(&draw, devices, seen).map_err(|error| match error {
        TestCaseError::Fail(reason) => failed(format!("{reason}\n{:?}", draw.of)),
        rejected => rejected,
    })
}

fn check_draw(
    draw: &Draw,
    devices: &[Device],
    seen: &mut BTreeMap<String, usize>,
) -> TestCaseResult {
    let values = [draw.inputs.clone(), draw.outputs.clone()];
    let moved = [1.0, -1.0].map(|sign| draw.moved(sign));
    let mut forms = vec![draw.forward(values.clone())];
    let mut of_moved = moved.clone().map(|values| vec![draw.forward(values)]);
    if draw.differentiable {
        forms.push(draw.backward(values));
        for (cases, values) in of_moved.iter_mut().zip(&moved) {
            cases.push(draw.backward(values.clone()));
        }
    }
    let run = |cases: &[Case], device: &Device| -> Results {
        cases.iter().flat_map(|case| case.run(device)).collect()
    };
    let double = Device::cpu_f64();
    let results = run(&forms, &double);
    let [plus, minus] = of_moved.map(|cases| run(&cases, &double));
    check_fit(&results, [&plus, &minus])?;
    if draw.differentiable {
        let d: Vec<f64> = results[1].1.iter().copied().collect();
        let mut terms = vec![];
        let mut d = d.into_iter();
        let shape = &draw.of.shape;
        let kept = shape.len() - draw.of.folded;
        let change = |tensor: TensorId, place: usize| {
            let index = usize::from(tensor != tensors()[0].tensor);
            f64::from(moved[0][index][place]) - f64::from(moved[1][index][place])
        };
        for index in &draw.floats {
            let over = if draw.along_row(*index) {
                &shape[..]
            } else {
                &shape[..kept]
            };
            each(over, |place| {
                let d = d.next().expect("there is one for each");
                match &draw.of.operands[*index] {
                    Operand::Float(view) => terms.push(d * change(view.tensor, at(view, place))),
                    Operand::Gather {
                        view,
                        index,
                        shift,
                        stride,
                        len,
                    } => {
                        let row = draw.wholes[at(index, place)].wrapping_sub(*shift) as usize;
                        if row < *len {
                            terms.push(d * change(view.tensor, at(view, place) + row * stride));
                        }
                    }
                    _ => unreachable!("others have no gradient"),
                }
            });
        }
        let seeds = draw.seeds();
        let values = plus[0].1.iter().zip(&minus[0].1).zip(&seeds);
        let changes =
            values.map(|((plus, minus), seed)| [plus * f64::from(*seed), minus * f64::from(*seed)]);
        // What is read where it is written changes by itself; what lies between does not.
        check_differences(terms, changes)?;
        *seen.entry("differentiated".to_owned()).or_insert(0) += 1;
    }
    for device in devices {
        check_single(device, &run(&forms, device), &results)?;
    }
    if draw.of.elements.is_empty() && draw.of.results.is_empty() {
        return Err(failed("nothing is computed"));
    }
    let family = match draw.family {
        Family::Map => "map",
        Family::Row => "row",
        Family::Reduce => "reduce",
    };
    *seen.entry(family.to_owned()).or_insert(0) += 1;
    Ok(())
}

const REQUIRED: [&str; 40] = [
    "map",
    "row",
    "reduce",
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "abs",
    "sqrt",
    "exp",
    "exp_m1",
    "ln",
    "softplus",
    "sigmoid",
    "tanh",
    "erf",
    "where_positive",
    "max",
    "min",
    "constant",
    "less",
    "equal",
    "mean",
    "softmax",
    "logsumexp",
    "largest",
    "float",
    "repeats",
    "gather",
    "whole",
    "position",
    "random",
    "in place",
    "turns 0",
    "turns 1",
    "turns 2",
    "turns 3",
    "turns 4",
    "differentiated",
];

#[test]
fn on_the_cpu() {
    run(10_000, 120, &REQUIRED, |numbers, seen| {
        check(numbers, &[Device::cpu()], seen)
    });
}

#[test]
fn on_the_gpu() {
    if let Some(gpu) = crate::common::gpu() {
        // Each case is two kernels of its own, which a driver compiles.
        run(250, 120, &REQUIRED[..36], |numbers, seen| {
            check(numbers, std::slice::from_ref(&gpu), seen)
        });
    }
}
