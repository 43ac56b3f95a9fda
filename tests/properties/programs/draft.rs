//! A program as it is drawn.

use crate::choices::Choices;
use crate::common::{rng, uniform};
use bptt::CellRef;
use bptt::expr::{Expr, Fold, Lanes, Tape};
use bptt::program::{
    GatesLayout, Gemm, Map, Matrix, Op, Operand, PerDirection, Pointwise, Program,
    RecurrentBackward, RecurrentForward, RecurrentShape, RecurrentWeights, Reduce, Row, Scatter,
    Segment, Slice, TensorId, View,
};
use ndarray::ArrayD;
use std::sync::Arc;

const SIZES: [usize; 9] = [1, 2, 3, 4, 5, 7, 17, 33, 65];

/// What rows and columns a small operation has.
const SMALL: [usize; 5] = [1, 2, 3, 5, 7];

#[derive(Default)]
pub struct Draft {
    pub program: Program,
    /// The tensors that outlive a run, with what is in them before it.
    pub floats: Vec<(Slice, ArrayD<f32>)>,
    pub wholes: Vec<(Slice, ArrayD<u32>)>,
    /// Temporary tensors, which are full.
    temporaries: Vec<Slice>,
    pub seen: Vec<&'static str>,
}

impl Draft {
    fn given(&mut self, len: usize, bound: f32) -> Slice {
        let index = self.program.tensors().len();
        let slice = self.program.tensor(format!("tensor {index}"), &[len]);
        let values = uniform(&mut rng(index as u64), len, bound);
        let values = ArrayD::from_shape_vec(vec![len], values).unwrap();
        self.floats.push((slice, values));
        slice
    }

    /// Whole numbers up to a bound.
    fn wholes(&mut self, len: usize, most: usize) -> Slice {
        let index = self.program.tensors().len();
        let slice = self.program.tensor(format!("wholes {index}"), &[len]);
        let number = |place: usize| ((place * 7 + index) % (most + 1)) as u32;
        let values = (0..len).map(number).collect();
        let values = ArrayD::from_shape_vec(vec![len], values).unwrap();
        self.wholes.push((slice, values));
        slice
    }

    /// A matrix to read, in none of some tensors: in one that was written before where there is one, else in a new one.
    fn read(
        &mut self,
        choices: &mut Choices<'_>,
        [rows, columns]: [usize; 2],
        not: &[TensorId],
    ) -> Matrix {
        let stride = columns + choices.below(3);
        let needed = (rows - 1) * stride + columns;
        let known = self.floats.iter().map(|(slice, _)| *slice);
        let known = known.chain(self.temporaries.iter().copied());
        let fits = |slice: &Slice| slice.len >= needed && !not.contains(&slice.tensor);
        let known: Vec<_> = known.filter(fits).collect();
        let from = match known.len() {
            0 => self.given(needed + choices.below(4), 1.0),
            _ if choices.chance(30) => self.given(needed + choices.below(4), 1.0),
            count => known[choices.below(count)],
        };
        Matrix {
            tensor: from.tensor,
            offset: choices.below(from.len - needed + 1),
            rows,
            columns,
            row_stride: stride,
        }
    }

    /// A matrix to write, whose other elements stay: a temporary tensor, which is then full, or inside of one that outlives the run.
    fn write(&mut self, choices: &mut Choices<'_>, [rows, columns]: [usize; 2]) -> Matrix {
        if choices.chance(40) {
            let index = self.program.tensors().len();
            let name = format!("temporary {index}");
            let slice = self.program.temporary(name, &[rows * columns]);
            self.temporaries.push(slice);
            self.seen.push("temporary");
            return slice.matrix(rows, columns);
        }
        self.written(choices, [rows, columns])
    }

    /// A matrix to write or to add to.
    fn written(&mut self, choices: &mut Choices<'_>, [rows, columns]: [usize; 2]) -> Matrix {
        let stride = columns + choices.below(3);
        let needed = (rows - 1) * stride + columns;
        let fits = |(slice, _): &&(Slice, ArrayD<f32>)| slice.len >= needed;
        let known: Vec<_> = self
            .floats
            .iter()
            .filter(fits)
            .map(|(slice, _)| *slice)
            .collect();
        let to = match known.len() {
            count if count > 0 && choices.chance(40) => known[choices.below(count)],
            _ => self.given(needed + choices.below(4), 1.0),
        };
        Matrix {
            tensor: to.tensor,
            offset: choices.below(to.len - needed + 1),
            rows,
            columns,
            row_stride: stride,
        }
    }

    fn push(&mut self, name: &'static str, op: impl Into<Op>) {
        self.seen.push(name);
        self.program.push(op);
    }

    /// Adds an operation.
    pub fn operation(&mut self, choices: &mut Choices<'_>) {
        let [rows, columns] = [choices.of(&SIZES), choices.of(&SIZES)];
        match choices.below(12) {
            0 => self.product(choices),
            1 => {
                let to = self.write(choices, [rows, columns]);
                let from = self.read(choices, [rows, columns], &[to.tensor]);
                self.push("copy", Map::copy(&[rows, columns], from.view(), to.view()));
            }
            2 => {
                let times = choices.of(&SMALL);
                let to = self.write(choices, [rows, times * columns]);
                let from = self.read(choices, [rows, columns], &[to.tensor]);
                let bias = choices.chance(50);
                let bias = bias.then(|| self.read(choices, [1, times * columns], &[to.tensor]));
                self.push("repeat", Map::repeat(from, bias.map(row), to));
            }
            3 => {
                let times = choices.of(&SMALL);
                let to = self.write(choices, [times * rows, columns]);
                let input = self.read(choices, [times * rows, columns], &[to.tensor]);
                let factor = self.read(choices, [rows, columns], &[to.tensor]);
                self.push("multiply", Map::multiply(input, factor, to));
            }
            4 => {
                let to = self.write(choices, [1, columns]);
                let state = self.wholes(4, 1000);
                let site = choices.below(5) as u32;
                self.push("mask", Map::mask(row(to), state, site, 0.25));
            }
            5 => {
                let steps = choices.of(&SMALL);
                let to = self.write(choices, [rows, columns]);
                let input = self.read(choices, [steps * rows, columns], &[to.tensor]);
                // Past the input now and then.
                let lengths = self.wholes(rows, steps + 1);
                let first = choices.below(2);
                self.push("last rows", Map::gather_last(input, lengths, first, to));
            }
            6 => {
                let accumulate = choices.chance(50);
                let to = match accumulate {
                    true => self.written(choices, [1, columns]),
                    false => self.write(choices, [1, columns]),
                };
                let from = self.read(choices, [rows, columns], &[to.tensor]);
                let sums = Reduce::columns(from, &[row(to)], accumulate);
                self.push("sums of columns", sums);
            }
            7 => {
                let (times, accumulate) = (choices.of(&SMALL), choices.chance(50));
                let to = match accumulate {
                    true => self.written(choices, [rows, columns]),
                    false => self.write(choices, [rows, columns]),
                };
                let from = self.read(choices, [rows, times * columns], &[to.tensor]);
                let sums = Reduce::repeats(from, to, accumulate);
                self.push("sums of repeats", sums);
            }
            8 => {
                let to = self.write(choices, [rows, columns]);
                let from = self.read(choices, [rows, columns], &[to.tensor]);
                let views = ([rows, columns], vec![from.view()], vec![to.view()]);
                self.push("softmax", Row::new(pointwise(views, 1, softmax)));
            }
            9 => {
                let to = self.written(choices, [rows, columns]);
                let other = self.read(choices, [1, columns], &[to.tensor]);
                let repeated = View::new(row(other), [0, 1]);
                let views = ([rows, columns], vec![to.view(), repeated], vec![to.view()]);
                self.push("in place", Map(pointwise(views, 0, squashed)));
            }
            10 => {
                let (rows, accumulate) = (choices.of(&SIZES), choices.chance(50));
                let table = choices.of(&SMALL);
                let to = match accumulate {
                    true => self.written(choices, [table, columns]),
                    false => self.write(choices, [table, columns]),
                };
                let input = self.read(choices, [rows, columns], &[to.tensor]);
                // One past the table's last now and then.
                let indices = self.wholes(rows, table);
                self.push(
                    "scatter",
                    Scatter {
                        input,
                        indices,
                        output: to,
                        accumulate,
                    },
                );
            }
            _ => self.recurrence(choices),
        }
    }

    fn product(&mut self, choices: &mut Choices<'_>) {
        let [m, n, k] = [0; 3].map(|_| choices.of(&SIZES));
        let transposed = choices.below(3);
        let accumulate = choices.chance(30);
        let c = match accumulate {
            true => self.written(choices, [m, n]),
            false => self.write(choices, [m, n]),
        };
        let not = [c.tensor];
        let a = self.read(choices, if transposed == 1 { [k, m] } else { [m, k] }, &not);
        let b = self.read(choices, if transposed == 2 { [n, k] } else { [k, n] }, &not);
        let bias = choices
            .chance(50)
            .then(|| row(self.read(choices, [1, n], &not)));
        let product = Gemm::new(a, b, c).bias(bias).accumulate(accumulate);
        let product = match transposed {
            1 => product.transpose_a(),
            2 => product.transpose_b(),
            _ => product,
        };
        self.push("product", product);
    }

    fn recurrence(&mut self, choices: &mut Choices<'_>) {
        let cells = CellRef::builtin();
        let cell = cells[choices.below(cells.len())].clone();
        let [steps, batch, hidden] = [0; 3].map(|_| choices.of(&SMALL));
        let shape = RecurrentShape {
            steps,
            batch,
            hidden,
            output: hidden,
            directions: 1 + choices.below(2),
        };
        let directions = shape.directions;
        let mut weight = |len: usize| PerDirection {
            first: row_of(
                self.given(directions * len, (hidden as f32).powf(-0.5)),
                len,
            ),
            stride: len,
        };
        let gates = cell.gates() * hidden;
        let weights = RecurrentWeights {
            weight_hh: weight(gates * hidden),
            bias_hh: Some(weight(gates)),
            weight_hr: None,
            weight_diag: (cell.diagonals() > 0).then(|| weight(cell.diagonals() * hidden)),
        };
        let states = shape.state_offset(cell.states());
        let saved_len = shape.rows() * hidden * cell.saved();
        let inner_len = RecurrentForward::inner_len(&cell, &shape, false);
        // Each device lays it out as it likes.
        let kept = self.program.temporary("kept", &[saved_len + inner_len]);
        let lengths = choices.chance(50).then(|| self.wholes(batch, steps));
        let initial = choices.chance(50).then(|| self.given(states, 1.0));
        let [last, y] = [states, shape.rows() * hidden].map(|len| self.given(len, 0.0));
        let not = [kept, last, y].map(|slice| slice.tensor);
        let x_gates = self.read(choices, [1, shape.rows() * gates], &not);
        let saved = row_of(kept, saved_len);
        let forward = RecurrentForward {
            cell: cell.clone(),
            shape,
            segment: Segment::whole(&shape),
            products: vec![],
            x_gates: row(x_gates),
            weights,
            mask: None,
            zoneout: None,
            lengths,
            initial,
            last,
            y,
            inner: (inner_len > 0).then(|| kept.part(saved_len, inner_len)),
            saved: Some(saved),
        };
        self.push("recurrence", forward);
        if choices.chance(50) {
            let d_y = self.read(choices, [1, y.len], &[]);
            let more = directions * batch * cell.diagonals() * hidden;
            let d_gates = GatesLayout::new(&cell, &shape, false).len;
            let backward = RecurrentBackward {
                cell,
                shape,
                segment: Segment::whole(&shape),
                weights,
                mask: None,
                zoneout: None,
                saved,
                d_y: row(d_y),
                lengths,
                d_state: self.given(states + more, 1.0),
                has_d_last: choices.chance(50),
                wants_initial: true,
                d_gates: self.given(d_gates, 0.0),
            };
            self.push("recurrence back", backward);
        }
    }
}

/// A matrix of one row as a slice.
fn row(matrix: Matrix) -> Slice {
    Slice {
        tensor: matrix.tensor,
        offset: matrix.offset,
        len: matrix.columns,
    }
}

/// The first elements of a slice.
fn row_of(slice: Slice, len: usize) -> Slice {
    Slice { len, ..slice }
}

fn softmax<'t>(tape: &'t Tape) -> Expr<'t> {
    let x = tape.operand(0);
    let e = (x - tape.statistic(Fold::Max, x)).exp();
    e / tape.statistic(Fold::Sum, e)
}

fn squashed<'t>(tape: &'t Tape) -> Expr<'t> {
    (tape.operand(0) * 0.5 + tape.operand(1)).tanh()
}

/// An expression of some views over a space, of whose axes the last ones are folded.
fn pointwise(
    (shape, reads, writes): ([usize; 2], Vec<View>, Vec<View>),
    folded: usize,
    record: impl for<'t> Fn(&'t Tape) -> Expr<'t>,
) -> Pointwise {
    let tape = Tape::new();
    let body = Arc::new(tape.finish(&[record(&tape)], &[]));
    Pointwise {
        name: "drawn".into(),
        shape: shape.to_vec(),
        folded,
        operands: reads.into_iter().map(Operand::Float).collect(),
        body,
        elements: writes,
        results: vec![],
    }
}
