//! Random expressions over random spaces: maps, rows with statistics of statistics, sums; operands of any strides that repeat along any
//! axes, gathered ones, whole numbers, positions, random words; outputs with gaps between their elements, or where an operand is.
//!
//! Values stay within ±4 and denominators, roots and logarithms away from 0, so that a relative tolerance means something.

use crate::choices::{
    Choices, Results, STEP, check_differences, check_fit, check_single, failed, run,
};
use crate::common::{Case, rng, uniform};
use bptt::Device;
use bptt::expr::{Body, Expr, Fold, Lanes, Tape, WholeExpr};
use bptt::program::{Map, Operand, Pointwise, Program, Reduce, Row, Slice, TensorId, View};
use proptest::test_runner::{TestCaseError, TestCaseResult};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest value.
const BOUND: f64 = 4.0;

/// Elements of a space, at most.
const MOST: usize = 3000;

#[derive(Clone, Copy, PartialEq)]
enum Family {
    Map,
    Row,
    Reduce,
}

/// A value and the largest magnitude it may have.
#[derive(Clone, Copy)]
struct Value<'t>(Expr<'t>, f64);

impl Value<'_> {
    fn tame(self) -> Self {
        if self.1 > BOUND {
            Self(self.0 * (2.0 / self.1), 2.0)
        } else {
            self
        }
    }
}

/// What an expression may read.
struct Pool<'t> {
    values: Vec<Value<'t>>,
    /// Whole numbers, and the largest each may be.
    wholes: Vec<(WholeExpr<'t>, f64)>,
}

impl<'t> Pool<'t> {
    fn pick(&self, choices: &mut Choices<'_>) -> Value<'t> {
        self.values[self.values.len() - 1 - choices.below(self.values.len())]
    }

    /// One more value, of what is there.
    fn step(&mut self, choices: &mut Choices<'_>, seen: &mut BTreeMap<String, usize>) {
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
struct Room<T> {
    values: Vec<T>,
}

impl<T: Clone> Room<T> {
    fn take(&mut self, len: usize, gap: usize, fill: T) -> usize {
        let first = self.values.len() + gap;
        self.values.resize(first + len, fill);
        first
    }
}

/// Strides of some axes of a space in a random order, with gaps; and the extent.
fn layout(choices: &mut Choices<'_>, shape: &[usize], follows: &[bool]) -> (Vec<usize>, usize) {
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

/// An expression with all it reads and writes.
struct Draw {
    family: Family,
    of: Pointwise,
    collapsed: bool,
    /// The operands that have a gradient.
    floats: Vec<usize>,
    differentiable: bool,
    inputs: Vec<f32>,
    wholes: Vec<u32>,
    outputs: Vec<f32>,
}

/// The tensors, by the order they are added to a program.
const TENSORS: [&str; 3] = ["inputs", "wholes", "outputs"];

fn tensors() -> Vec<Slice> {
    let mut program = Program::new();
    TENSORS
        .iter()
        .map(|name| program.tensor(*name, &[1]))
        .collect()
}

fn slice(tensor: usize, offset: usize, len: usize) -> Slice {
    Slice {
        offset,
        len,
        ..tensors()[tensor]
    }
}

fn space(choices: &mut Choices<'_>) -> Vec<usize> {
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

impl Draw {
    fn new(numbers: &[u32], seen: &mut BTreeMap<String, usize>) -> Self {
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

    /// NaN where something is to be written that is not read.
    fn poison(&mut self) {
        let read: Vec<View> = self
            .of
            .operands
            .iter()
            .filter_map(|operand| match operand {
                Operand::Float(view) => Some(view.clone()),
                _ => None,
            })
            .collect();
        let kept = self.of.shape.len() - self.of.folded;
        let elements = self
            .of
            .elements
            .iter()
            .map(|view| (view, &self.of.shape[..]));
        let results = self
            .of
            .results
            .iter()
            .map(|view| (view, &self.of.shape[..kept]));
        let mut places = vec![];
        for (view, shape) in elements
            .chain(results)
            .filter(|(view, _)| !read.contains(view))
        {
            each(shape, |place| places.push(at(view, place)));
        }
        places
            .into_iter()
            .for_each(|place| self.outputs[place] = f32::NAN);
    }

    /// The values with those of operands moved.
    fn moved(&self, sign: f32) -> [Vec<f32>; 2] {
        let mut rng = rng(1);
        let mut move_all = |values: &Vec<f32>| {
            let moved = values
                .iter()
                .map(|value| value * (1.0 + sign * STEP * rng.random_range(-1.0..=1.0)));
            moved.collect::<Vec<f32>>()
        };
        let inputs = move_all(&self.inputs);
        // What lies between must stay, to be compared.
        let mut outputs = self.outputs.clone();
        let moved = move_all(&self.outputs);
        for index in &self.floats {
            if let Operand::Float(view) = &self.of.operands[*index]
                && view.tensor == tensors()[2].tensor
            {
                each(&self.of.shape, |place| {
                    outputs[at(view, place)] = moved[at(view, place)]
                });
            }
        }
        [inputs, outputs]
    }

    fn case(&self, [inputs, outputs]: [Vec<f32>; 2]) -> Case {
        let mut case = Case::new(0);
        let (len, wholes) = (inputs.len(), self.wholes.clone());
        case.given("inputs", &[len], inputs);
        case.wholes("wholes", &[wholes.len()], wholes);
        let len = outputs.len();
        case.given("outputs", &[len], outputs);
        case
    }

    fn push(&self, program: &mut Program, of: Pointwise, reduce: bool) {
        let of = if self.collapsed { of.collapsed() } else { of };
        match self.family {
            Family::Map => program.push(Map(of)),
            _ if reduce => program.push(Reduce(of)),
            _ => program.push(Row(of)),
        }
    }

    fn forward(&self, values: [Vec<f32>; 2]) -> Case {
        let mut case = self.case(values);
        case.also_output(tensors_of(&case, 2));
        self.push(
            &mut case.program,
            self.of.clone(),
            self.family == Family::Reduce,
        );
        case
    }

    fn seeds(&self) -> Vec<f32> {
        uniform(&mut rng(5), self.outputs.len(), 1.0)
    }

    /// Whether an operand changes along a row, so that its gradient is one of elements.
    fn along_row(&self, operand: usize) -> bool {
        let kept = self.of.shape.len() - self.of.folded;
        match &self.of.operands[operand] {
            Operand::Float(view) => {
                self.of.folded == 0 || view.strides[kept..].iter().any(|stride| *stride > 0)
            }
            Operand::Gather { view, index, .. } => {
                let all = view.strides.iter().chain(&index.strides[kept..]);
                self.of.folded == 0 || all.skip(kept).any(|stride| *stride > 0)
            }
            _ => true,
        }
    }

    /// The gradients of all operands, each over the space or its rows.
    fn backward(&self, values: [Vec<f32>; 2]) -> Case {
        let mut case = self.case(values);
        let seeds = self.seeds();
        let seeds = case.given("seeds", &[seeds.len()], seeds);
        let rank = self.of.shape.len();
        let kept = rank - self.of.folded;
        let mut operands = self.of.operands.clone();
        for view in self.of.elements.iter().chain(&self.of.results) {
            let mut seed = View {
                tensor: seeds.tensor,
                ..view.clone()
            };
            seed.strides.resize(rank, 0);
            operands.push(Operand::Float(seed));
        }
        let of: Vec<_> = self
            .floats
            .iter()
            .map(|index| (*index, self.along_row(*index)))
            .collect();
        let body = self.of.body.gradient(self.of.operands.len(), &of);
        let (mut elements, mut results) = (vec![], vec![]);
        let mut sizes = vec![];
        for (_, along_row) in &of {
            let shape = if *along_row {
                &self.of.shape
            } else {
                &self.of.shape[..kept]
            };
            sizes.push(shape.iter().product::<usize>());
        }
        let d = case.output("d", &[sizes.iter().sum()]);
        let mut first = 0;
        for ((_, along_row), len) in of.iter().zip(sizes) {
            let (shape, to) = match along_row {
                true => (&self.of.shape[..], &mut elements),
                false => (&self.of.shape[..kept], &mut results),
            };
            to.push(View::whole(d.part(first, len), shape));
            first += len;
        }
        let gradient = Pointwise {
            operands,
            body: Arc::new(body),
            elements,
            results,
            ..self.of.clone()
        };
        // Sums that use no sum may be either.
        let mut as_sum = case.program.clone();
        self.push(&mut as_sum, gradient.clone(), true);
        let sums = self.family != Family::Map && as_sum.check().is_ok();
        self.push(&mut case.program, gradient, sums);
        case
    }
}

fn tensors_of(case: &Case, index: usize) -> Slice {
    let ids: Vec<TensorId> = case.program.ids().collect();
    let len = case.program.spec(ids[index]).len();
    slice(index, 0, len)
}

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
