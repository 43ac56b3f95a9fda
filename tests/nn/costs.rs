//! What operations cost.

use bptt::cell::LstmUnit;
use bptt::data::Batch;
use bptt::nn::Sequential;
use bptt::program::{
    Cost, Gemm, Op, PerDirection, Program, RecurrentBackward, RecurrentForward, RecurrentShape,
    RecurrentWeights, Segment,
};
use bptt::train::{self, Trainer};
use bptt::{CellRef, Device};
use ndarray::Array3;

#[test]
fn a_product_costs_what_its_shapes_say() {
    // [5, 3] · [3, 7] + bias [7]: 105 multiply-adds and 35 additions.
    let mut program = Program::new();
    let (a, b) = (program.tensor("a", &[5, 3]), program.tensor("b", &[7, 3]));
    let (bias, c) = (program.tensor("bias", &[7]), program.tensor("c", &[5, 7]));
    let product = Gemm::new(a.matrix(5, 3), b.matrix(7, 3), c.matrix(5, 7)).transpose_b();
    let cost = Op::from(product.clone().bias(Some(bias))).cost();
    let expected = Cost {
        flops: 2 * 105 + 35,
        read: 4 * (15 + 21 + 7),
        written: 4 * 35,
        steps: 1,
        again: 0,
    };
    assert_eq!(cost, expected);
    // Added to c: it is read too.
    let cost = Op::from(product.accumulate(true)).cost();
    assert_eq!((cost.flops, cost.read), (245, 4 * (15 + 21 + 35)));
    assert_eq!(cost.bytes_in(3), cost.bytes(), "it has no steps");
}

#[test]
fn adam_costs_what_its_equations_say() {
    // A weight of 12 and a bias of 4.
    let of_step = |clip: bool| {
        let model = Sequential::new(3).linear(4).build(&Device::cpu(), 1);
        let trainer = Trainer::new(model.unwrap(), train::Adam::new(0.01));
        let trainer = if clip {
            trainer.clip_norm(1.0)
        } else {
            trainer
        };
        let batch = Batch::new(
            Array3::<f32>::ones((2, 3, 3)),
            Array3::<f32>::ones((2, 3, 4)),
        );
        let plan = trainer.build().unwrap().plan(&batch).unwrap();
        plan.kernels.last().unwrap().clone()
    };
    // g + decay·p: 2; p·kept: 1; β₁m + (1−β₁)g: 3; β₂v + (1−β₂)g·g: 4; √v, /√c₂, + ε, rate·m, their
    // quotient, p less it: 6.
    let adam = of_step(false);
    assert_eq!(adam.kernel, "map.update");
    assert_eq!(adam.flops, 16 * (2 + 1 + 3 + 4 + 6));
    // Weight, gradient, moments, the step's numbers; all but the gradient written.
    assert_eq!(adam.bytes, 4 * (4 * 16 + 9) + 4 * 3 * 16);
    // Clipping's two factors.
    assert_eq!(of_step(true).flops, 16 * 18);
}

#[test]
fn an_lstm_layer_costs_what_its_shapes_say() {
    // T = 3, B = 2, H = P = 5, D = 1: G·H = 20 and 6 rows.
    let mut program = Program::new();
    let mut tensor = |len| program.tensor("a tensor", &[len]);
    let shape = RecurrentShape {
        steps: 3,
        batch: 2,
        hidden: 5,
        output: 5,
        directions: 1,
    };
    let weight = |first| PerDirection { first, stride: 0 };
    let weights = RecurrentWeights {
        weight_hh: weight(tensor(100)),
        bias_hh: Some(weight(tensor(20))),
        weight_hr: None,
        weight_diag: None,
    };
    let cell = CellRef::new(LstmUnit::default());
    let saved = tensor(30 * cell.saved());
    let forward = Op::from(RecurrentForward {
        cell: cell.clone(),
        segment: Segment::whole(&shape),
        shape,
        products: vec![],
        x_gates: tensor(120),
        weights,
        mask: None,
        zoneout: None,
        lengths: None,
        initial: None,
        last: tensor(20),
        y: tensor(30),
        inner: None,
        saved: Some(saved),
    });
    let cost = forward.cost();
    // A row: 20 sums of 5 products, and 10 for each gate.
    assert_eq!(cost.flops, 6 * (2 * 20 * 5 + 10 * 20));
    assert_eq!(cost.read, 4 * (120 + 100 + 20));
    assert_eq!(cost.written, 4 * (30 + 20 + 30 * cell.saved() as u64));
    // Weights and biases, h of the step before [2, 5], c out and in.
    assert_eq!((cost.steps, cost.again), (3, 4 * (120 + 10 + 2 * 10)));
    assert_eq!(cost.bytes_in(1), cost.bytes());
    assert_eq!(cost.bytes_in(3), cost.bytes() + 2 * cost.again);
    assert_eq!(cost.bytes_in(6), cost.bytes_in(3), "two dispatches a step");

    let backward = Op::from(RecurrentBackward {
        cell,
        segment: Segment::whole(&shape),
        shape,
        weights,
        mask: None,
        zoneout: None,
        saved,
        d_y: tensor(30),
        lengths: None,
        d_state: tensor(20),
        has_d_last: false,
        wants_initial: false,
        d_gates: tensor(120),
    });
    let cost = backward.cost();
    // The last step, where going back starts, has no product.
    assert_eq!(cost.flops, 4 * (2 * 20 * 5) + 6 * (10 * 20));
    assert_eq!(cost.read, 4 * (saved.len as u64 + 30 + 100));
    assert_eq!(cost.written, 4 * (120 + 20));
    assert_eq!(cost.again, 4 * (100 + 2 * 20 + 2 * 10));
}
