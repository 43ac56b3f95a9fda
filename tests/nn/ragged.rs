//! Models on sequences of different lengths: each row as if it were alone, losses over the steps that there are.

use crate::common::{every_device, gpu};
use crate::finite_differences::check_trainer;
use crate::runs::{Results, check, devices_with_tolerances, random, tensor};
use bptt::Device;
use bptt::data::{Batch, Dataset, Sequence, Sequences, Values};
use bptt::graph::{Type, Var};
use bptt::nn::{Input, InputSpec, Layer, Lstm, Model, Scope, Sequential};
use bptt::train::{CrossEntropy, Loss, Mse, Sgd, Trainer};
use bptt::verify::compare;
use ndarray::{Array1, Array2, Array3, ArrayD, Axis, Ix3, arr1, s};

const T: usize = 6;
const B: usize = 5;
const I: usize = 3;
const O: usize = 4;
/// Lengths of every kind in no order: 0, T and between.
const LENGTHS: [usize; B] = [4, T, 0, 1, 3];

fn model(device: &Device, last_step: bool) -> Model {
    let lstm = Lstm::hidden(5).layers(2).bidirectional(true);
    let model = Sequential::new(I).linear(2).lstm(lstm);
    let model = if last_step { model.last_step() } else { model };
    model.linear(O).build(device, 3).unwrap()
}

fn trainer(device: &Device, last_step: bool, loss: impl Loss + 'static) -> Trainer {
    // A learning rate of 0: steps report losses and gradients and change nothing.
    let trainer = Trainer::new(model(device, last_step), Sgd::new(0.0)).loss(loss);
    trainer.build().unwrap()
}

fn x() -> Array3<f64> {
    random(1, &[T, B, I]).into_dimensionality().unwrap()
}

/// Targets like the output.
fn floats(last_step: bool) -> ArrayD<f64> {
    random(2, if last_step { &[B, O] } else { &[T, B, O] })
}

/// Classes like the output without its last dimension.
fn classes(last_step: bool) -> ArrayD<u32> {
    let shape: &[usize] = if last_step { &[B] } else { &[T, B] };
    floats(last_step)
        .index_axis_move(Axis(shape.len()), 0)
        .mapv(|value| ((value + 1.0) * 1.99) as u32)
}

/// Sets what lies past each row's length in `[T, B, …]`.
fn put_past<F: Clone>(values: &ArrayD<F>, value: F) -> ArrayD<F> {
    let mut values = values.clone();
    for (row, length) in LENGTHS.into_iter().enumerate() {
        let mut row = values.index_axis_mut(Axis(1), row);
        let mut past = row.slice_axis_mut(Axis(0), (length..).into());
        past.fill(value.clone());
    }
    values
}

/// `[t, 1, F]`: a row to its length.
fn alone(row: usize) -> Array3<f64> {
    x().slice(s![..LENGTHS[row], row..row + 1, ..]).to_owned()
}

#[test]
fn a_row_gives_what_it_gives_alone() {
    for (device, tolerance) in devices_with_tolerances() {
        for last_step in [false, true] {
            let model = model(&device, last_step);
            // What lies past the lengths has no effect, whatever finite number it is.
            let x = put_past(&x().into_dyn(), 1e30);
            let x = x.into_dimensionality::<Ix3>().unwrap();
            let y = model.predict_ragged(&x, &LENGTHS).unwrap();
            for (row, length) in LENGTHS.into_iter().enumerate() {
                let (got, expected) = if last_step {
                    let expected = match length {
                        // The last step of nothing is zeros, of which the linear layer leaves its bias.
                        0 => model.parameters().to_arrays().unwrap()["3.bias"].clone(),
                        _ => {
                            let alone = model.predict(&alone(row)).unwrap();
                            alone.index_axis_move(Axis(0), 0)
                        }
                    };
                    (y.index_axis(Axis(0), row).to_owned(), expected)
                } else if length > 0 {
                    let expected = model.predict(&alone(row)).unwrap();
                    let got = y.slice(s![..length, row..row + 1, ..]);
                    (got.to_owned().into_dyn(), expected)
                } else {
                    continue;
                };
                compare("y", &got, &expected, tolerance)
                    .unwrap_or_else(|mismatch| panic!("row {row} on {device}: {mismatch}"));
            }
            let x = tensor(&device, &x.into_dyn());
            let input = Input::with_lengths(&x, &LENGTHS);
            let forward = model.forward(input).unwrap().to_array::<f64>().unwrap();
            assert_eq!(forward, y, "{device}");
        }
    }
}

#[test]
fn gradients_are_those_of_the_loss() {
    let device = Device::cpu_f64();
    for last_step in [false, true] {
        for loss in [Mse::mean(), Mse::sum(), Mse::half_sum()] {
            let batch = Batch::new(x(), floats(last_step)).with_lengths(LENGTHS.into());
            check_trainer(trainer(&device, last_step, loss), &batch);
        }
        let batch = Batch::new(x(), classes(last_step)).with_lengths(LENGTHS.into());
        check_trainer(trainer(&device, last_step, CrossEntropy), &batch);
    }
}

/// The loss and the gradients of one step.
fn step(trainer: &mut Trainer, batch: &Batch) -> Results {
    trainer.step(batch).unwrap();
    let mut results = trainer.gradients::<f64>().unwrap();
    let loss = arr1(&[trainer.take_loss().unwrap()]).into_dyn();
    results.insert("loss".to_owned(), loss);
    results
}

/// The targets of some rows and of the first steps.
fn target(loss: &impl Loss, last_step: bool, rows: &[usize], steps: usize) -> Values {
    fn part<F: Clone>(all: ArrayD<F>, last_step: bool, rows: &[usize], steps: usize) -> ArrayD<F> {
        if last_step {
            return all.select(Axis(0), rows);
        }
        let rows = all.select(Axis(1), rows);
        rows.slice_axis(Axis(0), (..steps).into()).to_owned()
    }
    match loss.classes(&Type::float([T, B, O])) {
        None => part(floats(last_step), last_step, rows, steps).into(),
        Some(_) => part(classes(last_step), last_step, rows, steps).into(),
    }
}

/// A batch's loss and gradients are the sums of those of its rows alone, each times a factor of its length.
fn check_by_hand(
    last_step: bool,
    loss: impl Loss + Copy + 'static,
    loss_alone: impl Loss + Copy + 'static,
    factor: impl Fn(usize) -> f64,
) {
    // A row without any step cannot be run alone. It has no part in a loss of every step; in one of the last steps it has.
    let rows: Vec<usize> = (0..B)
        .filter(|row| !last_step || LENGTHS[*row] > 0)
        .collect();
    let lengths: Vec<usize> = rows.iter().map(|row| LENGTHS[*row]).collect();
    let batch = Batch::new(
        x().select(Axis(1), &rows),
        target(&loss, last_step, &rows, T),
    )
    .with_lengths(lengths.clone());
    for (device, tolerance) in devices_with_tolerances() {
        let got = step(&mut trainer(&device, last_step, loss), &batch);
        let zeros = |(name, values): (&String, &ArrayD<f64>)| (name.clone(), values * 0.0);
        let mut expected: Results = got.iter().map(zeros).collect();
        let mut single = trainer(&device, last_step, loss_alone);
        for (row, length) in rows.iter().zip(&lengths).filter(|(_, length)| **length > 0) {
            let target = target(&loss, last_step, &[*row], *length);
            for (name, values) in step(&mut single, &Batch::new(alone(*row), target)) {
                *expected.get_mut(&name).unwrap() += &(values * factor(*length));
            }
        }
        let place = format!("{loss:?}, last step: {last_step}, on {device}");
        check(&place, &got, &expected, tolerance);
    }
}

#[test]
fn every_steps_loss_is_that_of_the_steps_there_are() {
    let valid = LENGTHS.iter().sum::<usize>() as f64;
    check_by_hand(false, Mse::mean(), Mse::sum(), |_| 1.0 / (valid * O as f64));
    check_by_hand(false, Mse::sum(), Mse::sum(), |_| 1.0);
    check_by_hand(false, Mse::half_sum(), Mse::half_sum(), |_| 1.0);
    let share = |length: usize| length as f64 / valid;
    check_by_hand(false, CrossEntropy, CrossEntropy, share);
}

#[test]
fn the_last_steps_loss_is_that_of_each_rows_own() {
    check_by_hand(true, Mse::mean(), Mse::mean(), |_| 0.25);
    check_by_hand(true, Mse::sum(), Mse::sum(), |_| 1.0);
    check_by_hand(true, Mse::half_sum(), Mse::half_sum(), |_| 1.0);
    check_by_hand(true, CrossEntropy, CrossEntropy, |_| 0.25);
}

/// Behind softmax the loss is −ln of what softmax gives, in front of it −ln softmax: the same.
#[test]
fn cross_entropy_of_a_distribution_is_that_of_its_logits() {
    for (device, tolerance) in devices_with_tolerances() {
        let results = |softmax: bool| {
            let model = Sequential::new(I).lstm(Lstm::hidden(5)).linear(O);
            let model = if softmax { model.softmax() } else { model };
            let model = model.build(&device, 3).unwrap();
            let trainer = Trainer::new(model, Sgd::new(0.0)).loss(CrossEntropy);
            let batch = Batch::new(x(), classes(false)).with_lengths(LENGTHS.into());
            step(&mut trainer.build().unwrap(), &batch)
        };
        check(
            &device.to_string(),
            &results(true),
            &results(false),
            tolerance,
        );
    }
}

#[test]
fn what_lies_past_the_lengths_has_no_effect() {
    for device in every_device() {
        for loss in [Mse::mean(), Mse::sum()] {
            let mut trainer = trainer(&device, false, loss);
            let clean = Batch::new(x(), floats(false)).with_lengths(LENGTHS.into());
            let expected = step(&mut trainer, &clean);
            for garbage in [1e30, f64::INFINITY, f64::NAN] {
                let target = put_past(&floats(false), garbage);
                let batch = Batch::new(x(), target).with_lengths(LENGTHS.into());
                let got = step(&mut trainer, &batch);
                check(&format!("{garbage} on {device}"), &got, &expected, 0.0);
            }
            let x = put_past(&x().into_dyn(), 1e30);
            let batch = Batch::new(x, floats(false)).with_lengths(LENGTHS.into());
            let got = step(&mut trainer, &batch);
            check(&format!("x on {device}"), &got, &expected, 0.0);
        }
        let mut trainer = trainer(&device, false, CrossEntropy);
        let clean = Batch::new(x(), classes(false)).with_lengths(LENGTHS.into());
        let expected = step(&mut trainer, &clean);
        for garbage in [O as u32, u32::MAX] {
            let target = put_past(&classes(false), garbage);
            let batch = Batch::new(x(), target).with_lengths(LENGTHS.into());
            let got = step(&mut trainer, &batch);
            check(&format!("{garbage} on {device}"), &got, &expected, 0.0);
        }
    }
}

/// Two inputs of lengths of their own, of which the output has the second's.
#[derive(Debug)]
struct EncoderDecoder {
    encoder: Lstm,
    decoder: Lstm,
}

impl Layer for EncoderDecoder {
    type Input = (Var, Var);
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, (source, x): (Var, Var)) -> bptt::Result<Var> {
        let (_, state) = s.layer("encoder", &self.encoder, (source, None))?;
        Ok(s.layer("decoder", &self.decoder, (x, Some(state)))?.0)
    }
}

#[test]
fn targets_have_the_lengths_of_the_output() {
    for (device, tolerance) in devices_with_tolerances() {
        let trainer = || {
            let layer = EncoderDecoder {
                encoder: Lstm::hidden(O),
                decoder: Lstm::hidden(O),
            };
            let inputs = ["source", "x"].map(|name| InputSpec::sequence(name, I));
            let model = Model::new(&device, layer, &inputs, 3).unwrap();
            Trainer::new(model, Sgd::new(0.0)).loss(CrossEntropy)
        };
        let source = [6, 1, 5, 4, 2];
        let batch = |target: ArrayD<u32>| {
            let source = Sequence::new(x() * 0.5).with_lengths(source.into());
            let x = Sequence::new(x()).with_lengths(LENGTHS.into());
            Batch::of([source, x], target)
        };
        let got = step(
            &mut trainer().build().unwrap(),
            &batch(put_past(&classes(false), u32::MAX)),
        );
        let valid = LENGTHS.iter().sum::<usize>() as f64;
        let mut expected: Results = got.clone();
        expected.values_mut().for_each(|values| values.fill(0.0));
        for (row, length) in LENGTHS.into_iter().enumerate().filter(|(_, n)| *n > 0) {
            let whole = x() * 0.5;
            let source = whole.slice(s![..source[row], row..row + 1, ..]);
            let inputs = [source.to_owned(), alone(row)].map(Sequence::new);
            let target = target(&CrossEntropy, false, &[row], length);
            let own = step(&mut trainer().build().unwrap(), &Batch::of(inputs, target));
            for (name, values) in own {
                *expected.get_mut(&name).unwrap() += &(values * (length as f64 / valid));
            }
        }
        check(&device.to_string(), &got, &expected, tolerance);
        let mut wrong = classes(false);
        wrong[[LENGTHS[0] - 1, 0]] = 99;
        let refused = trainer().build().unwrap().step(&batch(wrong)).unwrap_err();
        assert!(refused.to_string().starts_with("target: 99"), "{refused}");
    }
}

#[test]
fn lengths_change_from_batch_to_batch() {
    for device in every_device() {
        let batch = || Batch::new(x(), floats(false));
        let batches = [
            batch().with_lengths(LENGTHS.into()),
            batch().with_lengths(vec![1, 2, 3, 4, 5]),
            batch(),
            batch().with_lengths(vec![0; B]),
            batch().with_lengths(vec![T; B]),
        ];
        let mut one = trainer(&device, false, Mse::mean());
        for batch in batches.iter().chain(&batches) {
            let expected = step(&mut trainer(&device, false, Mse::mean()), batch);
            let got = step(&mut one, batch);
            assert!(got == expected, "{:?} on {device}", batch.inputs[0].lengths);
        }
    }
}

#[test]
fn no_step_at_all_is_a_loss_of_zero() {
    fn check_loss(loss: impl Loss + Copy + 'static, target: impl Into<Values>) {
        let batch = Batch::new(x(), target).with_lengths(vec![0; B]);
        for device in every_device() {
            for (name, values) in step(&mut trainer(&device, false, loss), &batch) {
                let zeros = values.iter().all(|value| *value == 0.0);
                assert!(zeros, "{name} of {loss:?} on {device}: {values}");
            }
        }
    }
    check_loss(Mse::mean(), floats(false));
    check_loss(CrossEntropy, classes(false));
}

#[test]
fn a_ragged_step_is_one_submit_and_creates_nothing() {
    let Some(device) = gpu() else { return };
    // Counters of its own: other tests run beside this one.
    let (wgpu_device, queue) = device.wgpu().unwrap();
    let device = Device::from_wgpu(wgpu_device.clone(), queue.clone());
    let mut trainer = trainer(&device, true, Mse::mean());
    let batch = |lengths| Batch::new(x(), floats(true)).with_lengths(lengths);
    trainer.step(&batch(vec![1, 2, 3, 4, 5])).unwrap();
    trainer.take_loss().unwrap();
    let mut expected = device.counters();
    trainer.step(&batch(LENGTHS.into())).unwrap();
    let after = device.counters();
    expected.submits += 1;
    expected.dispatches = after.dispatches;
    assert_eq!(after, expected);
}

#[test]
fn a_batch_has_the_lengths_of_its_examples() {
    let data = Sequences::classes(Array3::zeros((4, 3, 2)), Array1::zeros(3)).unwrap();
    assert_eq!(data.batch(&[2, 1]).inputs[0].lengths, None);
    let data = data.with_lengths(vec![4, 0, 2]).unwrap();
    let lengths = &data.batch(&[2, 0, 2]).inputs[0].lengths;
    assert_eq!(*lengths, Some(vec![2, 4, 2]));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let message = |result: bptt::Result<()>| result.unwrap_err().to_string();
    let device = Device::cpu();
    let data = Sequences::many_to_one(Array3::zeros((T, B, 1)), Array2::zeros((B, 1))).unwrap();
    for (lengths, expected) in [
        (vec![T; 4], "lengths: shape [4], expected [5]"),
        (vec![], "lengths: shape [0], expected [5]"),
        (vec![T; T], "lengths: shape [6], expected [5]"),
        (vec![1, 2, 7, 0, 0], "lengths: 7, expected 0 to T = 6"),
    ] {
        let predicted = model(&device, false).predict_ragged(&x(), &lengths);
        assert_eq!(message(predicted.map(drop)), expected);
        for last_step in [false, true] {
            let batch = Batch::new(x(), floats(last_step)).with_lengths(lengths.clone());
            let mut trainer = trainer(&device, last_step, Mse::mean());
            assert_eq!(message(trainer.step(&batch)), expected);
        }
        let sequences = data.clone().with_lengths(lengths);
        assert_eq!(message(sequences.map(drop)), expected);
    }
    // A class outside is refused where it counts, also at a sequence's last step.
    let mut classes = classes(false);
    classes[[LENGTHS[0] - 1, 0]] = 99;
    let batch = Batch::new(x(), classes).with_lengths(LENGTHS.into());
    let refused = trainer(&device, false, CrossEntropy).step(&batch);
    let expected = "target: 99, expected class numbers 0 to 3 as u32";
    assert_eq!(message(refused), expected);
}
