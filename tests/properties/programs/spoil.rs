//! One number of a program, made another.

use crate::choices::Choices;
use bptt::program::{Matrix, Op, Operand, Pointwise, Program, RecurrentWeights, Role, Slice, View};

/// What a number becomes: around what it was, around what bits hold, and the largest.
fn another(choices: &mut Choices<'_>, was: usize) -> usize {
    let others = [
        0,
        1,
        was.wrapping_add(1),
        was.wrapping_sub(1),
        was.wrapping_mul(2),
        1 << 16,
        (1 << 31) - 1,
        1 << 32,
        1 << 53,
        usize::MAX / 2,
        usize::MAX - was,
        usize::MAX,
    ];
    choices.of(&others)
}

/// The program with a number of an operation spoiled; says what.
pub fn one_number(program: &mut Program, choices: &mut Choices<'_>) -> String {
    let mut ops = program.ops().to_vec();
    let index = choices.below(ops.len());
    let mut numbers = numbers(&mut ops[index]);
    let place = choices.below(numbers.len());
    let was = *numbers[place];
    *numbers[place] = another(choices, was);
    let told = format!(
        "operation {index}, number {place}, was {was}, is {}",
        *numbers[place]
    );
    let mut spoiled = Program::new();
    for spec in program.tensors() {
        match spec.role {
            Role::Temporary => spoiled.temporary(spec.name.clone(), &spec.shape),
            _ => spoiled.tensor(spec.name.clone(), &spec.shape),
        };
    }
    let told = format!("{told}: {:?}", ops[index]);
    ops.into_iter().for_each(|op| spoiled.push(op));
    *program = spoiled;
    told
}

/// All numbers of an operation that say where and how much.
fn numbers(op: &mut Op) -> Vec<&mut usize> {
    let mut all = vec![];
    match op {
        Op::Map(of) => pointwise(&mut of.0, &mut all),
        Op::Row(of) => pointwise(&mut of.0, &mut all),
        Op::Reduce(of) => pointwise(&mut of.0, &mut all),
        Op::Gemm(op) => {
            for of in [&mut op.a, &mut op.b, &mut op.c] {
                matrix(of, &mut all);
            }
            op.bias.iter_mut().for_each(|of| slice(of, &mut all));
        }
        Op::Scatter(op) => {
            matrix(&mut op.input, &mut all);
            slice(&mut op.indices, &mut all);
            matrix(&mut op.output, &mut all);
        }
        Op::RecurrentForward(op) => {
            let shape = &mut op.shape;
            all.extend([&mut shape.steps, &mut shape.batch, &mut shape.hidden]);
            all.extend([&mut shape.output, &mut shape.directions]);
            all.extend([&mut op.segment.first, &mut op.segment.total]);
            let RecurrentWeights {
                weight_hh,
                bias_hh,
                weight_hr,
                weight_diag,
            } = &mut op.weights;
            let optional = [bias_hh, weight_hr, weight_diag];
            for weight in optional.into_iter().flatten().chain([weight_hh]) {
                all.push(&mut weight.stride);
                slice(&mut weight.first, &mut all);
            }
            for of in [&mut op.x_gates, &mut op.last, &mut op.y] {
                slice(of, &mut all);
            }
            let optional = [
                &mut op.lengths,
                &mut op.initial,
                &mut op.inner,
                &mut op.saved,
            ];
            for of in optional.into_iter().flatten() {
                slice(of, &mut all);
            }
        }
        Op::RecurrentBackward(op) => {
            let shape = &mut op.shape;
            all.extend([&mut shape.steps, &mut shape.batch, &mut shape.hidden]);
            all.extend([&mut shape.output, &mut shape.directions]);
            all.extend([&mut op.segment.first, &mut op.segment.total]);
            for of in [&mut op.saved, &mut op.d_y, &mut op.d_state, &mut op.d_gates] {
                slice(of, &mut all);
            }
            op.lengths.iter_mut().for_each(|of| slice(of, &mut all));
        }
        Op::Custom(op) => {
            for (of, shape) in op.inputs.iter_mut().chain(&mut op.outputs) {
                slice(of, &mut all);
                all.extend(shape);
            }
        }
    }
    all
}

fn slice<'a>(of: &'a mut Slice, all: &mut Vec<&'a mut usize>) {
    all.extend([&mut of.offset, &mut of.len]);
}

fn matrix<'a>(of: &'a mut Matrix, all: &mut Vec<&'a mut usize>) {
    all.extend([&mut of.offset, &mut of.rows]);
    all.extend([&mut of.columns, &mut of.row_stride]);
}

fn view<'a>(of: &'a mut View, all: &mut Vec<&'a mut usize>) {
    all.push(&mut of.offset);
    all.extend(&mut of.strides);
}

fn pointwise<'a>(of: &'a mut Pointwise, all: &mut Vec<&'a mut usize>) {
    all.extend(&mut of.shape);
    all.push(&mut of.folded);
    for operand in &mut of.operands {
        match operand {
            Operand::Float(own) | Operand::Whole(own) => view(own, all),
            Operand::Position { offset, strides } => {
                all.push(offset);
                all.extend(strides);
            }
            Operand::Random {
                rng,
                offset,
                strides,
                ..
            } => {
                slice(rng, all);
                all.push(offset);
                all.extend(strides);
            }
            Operand::Gather {
                view: own,
                index,
                stride,
                len,
                ..
            } => {
                view(own, all);
                view(index, all);
                all.extend([stride, len]);
            }
        }
    }
    for own in of.elements.iter_mut().chain(&mut of.results) {
        view(own, all);
    }
}
