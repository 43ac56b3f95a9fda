//! An expression and its gradient as programs.

use super::draw::{Draw, slice, tensors};
use super::pool::Family;
use super::{at, each};
use crate::choices::STEP;
use crate::common::{Case, rng, uniform};
use bptt::program::{Map, Operand, Pointwise, Program, Reduce, Row, Slice, TensorId, View};
use rand::RngExt;
use std::sync::Arc;

impl Draw {
    /// NaN where something is to be written that is not read.
    pub(super) fn poison(&mut self) {
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
    pub(super) fn moved(&self, sign: f32) -> [Vec<f32>; 2] {
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

    pub(super) fn case(&self, [inputs, outputs]: [Vec<f32>; 2]) -> Case {
        let mut case = Case::new(0);
        let (len, wholes) = (inputs.len(), self.wholes.clone());
        case.given("inputs", &[len], inputs);
        case.wholes("wholes", &[wholes.len()], wholes);
        let len = outputs.len();
        case.given("outputs", &[len], outputs);
        case
    }

    pub(super) fn push(&self, program: &mut Program, of: Pointwise, reduce: bool) {
        let of = if self.collapsed { of.collapsed() } else { of };
        match self.family {
            Family::Map => program.push(Map(of)),
            _ if reduce => program.push(Reduce(of)),
            _ => program.push(Row(of)),
        }
    }

    pub(super) fn forward(&self, values: [Vec<f32>; 2]) -> Case {
        let mut case = self.case(values);
        case.also_output(tensors_of(&case, 2));
        self.push(
            &mut case.program,
            self.of.clone(),
            self.family == Family::Reduce,
        );
        case
    }

    pub(super) fn seeds(&self) -> Vec<f32> {
        uniform(&mut rng(5), self.outputs.len(), 1.0)
    }

    /// Whether an operand changes along a row, so that its gradient is one of elements.
    pub(super) fn along_row(&self, operand: usize) -> bool {
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
    pub(super) fn backward(&self, values: [Vec<f32>; 2]) -> Case {
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

pub(super) fn tensors_of(case: &Case, index: usize) -> Slice {
    let ids: Vec<TensorId> = case.program.ids().collect();
    let len = case.program.spec(ids[index]).len();
    slice(index, 0, len)
}
