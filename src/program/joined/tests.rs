use super::*;
use crate::CellRef;
use crate::cell::LstmUnit;
use crate::program::{Fill, Gemm, Matrix, PerDirection, RecurrentShape, RecurrentWeights, Segment};

const SHAPE: RecurrentShape = RecurrentShape {
    steps: 5,
    batch: 2,
    hidden: 3,
    output: 3,
    directions: 2,
};
const WIDTH: usize = 4 * 3;

/// Fill(x), a product a direction, the recurrence, and what they work on.
struct Layer {
    program: Program,
    ops: Vec<Op>,
    x: Slice,
    x_gates: Slice,
    y: Slice,
}

impl Layer {
    /// `kept`: whether x_gates outlives the run.
    fn new(kept: bool) -> Self {
        let mut program = Program::new();
        let rows = SHAPE.steps * SHAPE.batch;
        // As large as y.
        let x = program.temporary("x", &[rows, 6]);
        let gates_shape = [rows, 2 * WIDTH];
        let x_gates = match kept {
            true => program.tensor("x_gates", &gates_shape),
            false => program.temporary("x_gates", &gates_shape),
        };
        let y = program.temporary("y", &[rows, 6]);
        let weight_ih = program.tensor("weight_ih", &[2, WIDTH, 6]);
        let weight_hh = program.tensor("weight_hh", &[2, WIDTH, 3]);
        let last = program.tensor("last", &[2 * 2 * 2 * 3]);
        let mut ops = vec![
            Fill {
                target: x,
                value: 1.0,
            }
            .into(),
        ];
        for direction in 0..2 {
            let weights = weight_ih.part(direction * WIDTH * 6, WIDTH * 6);
            let gates = x_gates.matrix(rows, 2 * WIDTH);
            ops.push(
                Gemm {
                    transpose_b: true,
                    ..Gemm::new(
                        x.matrix(rows, 6),
                        weights.matrix(WIDTH, 6),
                        gates.columns(direction * WIDTH, WIDTH),
                    )
                }
                .into(),
            );
        }
        let weight_hh = PerDirection {
            first: weight_hh.part(0, WIDTH * 3),
            stride: WIDTH * 3,
        };
        ops.push(
            RecurrentForward {
                cell: CellRef::new(LstmUnit::default()),
                shape: SHAPE,
                segment: Segment::whole(&SHAPE),
                x_gates,
                weights: RecurrentWeights {
                    weight_hh,
                    bias_hh: None,
                    weight_hr: None,
                    weight_diag: None,
                },
                mask: None,
                zoneout: None,
                lengths: None,
                initial: None,
                last,
                y,
                inner: None,
                saved: None,
            }
            .into(),
        );
        Self {
            program,
            ops,
            x,
            x_gates,
            y,
        }
    }

    fn product(&mut self, direction: usize) -> &mut Gemm {
        match &mut self.ops[1 + direction] {
            Op::Gemm(product) => product,
            other => panic!("{}", other.name()),
        }
    }

    fn program(self) -> Program {
        let Self {
            mut program, ops, ..
        } = self;
        ops.into_iter().for_each(|op| program.push(op));
        program.check().unwrap();
        program
    }

    fn x_and_y_share_memory(self) -> bool {
        let (x, y) = (self.x.tensor, self.y.tensor);
        let memory = self.program().memory().unwrap();
        memory.block_of(x) == memory.block_of(y)
    }
}

const LEFT: [bool; 4] = [false, true, true, false];
const NONE: [bool; 4] = [false; 4];

#[test]
fn products_of_all_directions_are_left() {
    assert_eq!(Layer::new(false).program().fused_products(), LEFT);
}

#[test]
fn what_the_products_read_is_kept_until_the_recurrence_is_done() {
    let shared = Layer::new(false).x_and_y_share_memory();
    assert!(!shared, "y would be written over x, which is still read");
    let shared = Layer::new(true).x_and_y_share_memory();
    assert!(shared, "x is free once the products are done");
}

#[test]
fn products_that_somebody_else_sees_are_not() {
    assert_eq!(Layer::new(true).program().fused_products(), NONE);
    let mut layer = Layer::new(false);
    let copy = layer.program.tensor("copy", &[2, 2]);
    let part = layer.x_gates.part(0, 4).matrix(2, 2);
    layer
        .ops
        .push(Gemm::new(part, part, copy.matrix(2, 2)).into());
    let fused = layer.program().fused_products();
    assert_eq!(fused, [false; 5]);
}

#[test]
fn x_gates_without_products_right_before_are_not() {
    let mut layer = Layer::new(false);
    let recurrence = layer.ops[3].clone();
    // The first recurrence has products, the second only what they gave.
    layer.ops.push(recurrence);
    assert_eq!(layer.program().fused_products(), [false; 5]);
    let mut layer = Layer::new(false);
    layer.ops.swap(1, 2);
    assert_eq!(layer.program().fused_products(), NONE);
    let mut layer = Layer::new(false);
    let between = layer.ops[0].clone();
    layer.ops.insert(3, between);
    assert_eq!(layer.program().fused_products(), [false; 5]);
}

#[test]
fn products_of_another_form_are_not() {
    let mut layer = Layer::new(false);
    let weights = layer.product(1).b;
    layer.product(1).transpose_b = false;
    layer.product(1).b = Matrix {
        rows: 6,
        columns: WIDTH,
        row_stride: WIDTH,
        ..weights
    };
    assert_eq!(layer.program().fused_products(), NONE);
    for accumulate in [false, true] {
        let mut layer = Layer::new(false);
        layer.product(0).accumulate = accumulate;
        let target = layer.x_gates;
        let zeros = Fill { target, value: 0.0 };
        layer.ops.insert(0, zeros.into());
        let fused = [false, false, !accumulate, !accumulate, false];
        assert_eq!(layer.program().fused_products(), fused);
    }
}

#[test]
fn products_that_read_what_the_recurrence_writes_are_not() {
    let mut layer = Layer::new(false);
    let (y, fill) = (layer.y, layer.ops[0].clone());
    let rows = SHAPE.steps * SHAPE.batch;
    layer.product(1).a = y.matrix(rows, 6);
    let Op::Fill(fill) = fill else { panic!() };
    layer.ops.insert(0, Fill { target: y, ..fill }.into());
    assert_eq!(layer.program().fused_products(), [false; 5]);
}
