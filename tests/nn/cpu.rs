//! What only the CPU path does: two ways of a step, and callers' tensors that stand in for a program's own.

use crate::runs::{Results, Run, SINGLE_THROUGH_TIME, check, random, tensor};
use bptt::Device;
use bptt::cell::Cell;
use bptt::data::Batch;
use bptt::nn::{Gru, Lstm, Recurrent, Rnn, Sequential};
use bptt::train::{Adam, Trainer};

/// Few rows, which take a step with its product, and more than do so, over several registers of units, the last not full; forward and back,
/// with and without zoneout.
fn both_ways<C: Cell + Clone>(config: fn(usize, usize) -> Recurrent<C>) {
    for hidden in [1, 16, 70] {
        for batch in [3, 11] {
            for zoneout in [0.0, 0.3] {
                let config = config(5, hidden).zoneout(zoneout, zoneout);
                let run = Run::new(config.bidirectional(true), [7, batch, 5]);
                let run = Run {
                    train: Some((1, 2)),
                    ..run.ragged()
                };
                let place = format!("H = {hidden}, B = {batch}, zoneout {zoneout}");
                let expected = run.on(&Device::cpu_f64());
                check(
                    &place,
                    &run.on(&Device::cpu()),
                    &expected,
                    SINGLE_THROUGH_TIME,
                );
            }
        }
    }
}

#[test]
fn few_rows_and_many_agree_with_double_precision() {
    both_ways(Lstm::new);
    both_ways(|inputs, hidden| {
        let config = Lstm::new(inputs, hidden);
        config.peepholes(true).clip(1.5).cell_clip(0.8)
    });
    both_ways(Gru::new);
    both_ways(Rnn::new);
}

#[test]
fn results_and_inputs_stay_as_they_are_in_later_calls() {
    let device = Device::cpu();
    // [T, B, F] of more elements than are copied.
    let shape = [40, 4, 16];
    let model = Sequential::new(16).lstm(Lstm::hidden(16)).build(&device, 1);
    let model = model.unwrap();
    let given = [random(1, &shape), random(2, &shape)];
    let x = [&given[0], &given[1]].map(|x| tensor(&device, x));
    let first = model.forward(&x[0]).unwrap();
    let expected = first.to_array::<f64>().unwrap();
    let second = model.forward(&x[1]).unwrap();
    assert_ne!(second.to_array::<f64>().unwrap(), expected);
    assert_eq!(first.to_array::<f64>().unwrap(), expected);
    let mut trainer = Trainer::new(model, Adam::new(1e-2)).build().unwrap();
    for _ in 0..3 {
        trainer
            .step(&Batch::new(x[0].clone(), x[1].clone()))
            .unwrap();
    }
    assert_eq!(first.to_array::<f64>().unwrap(), expected);
    for (x, given) in x.iter().zip(&given) {
        assert_eq!(&x.to_array::<f64>().unwrap(), given);
    }
    let third = trainer.model().forward(&x[0]).unwrap();
    assert_ne!(third.to_array::<f64>().unwrap(), expected);
}

/// A run with as many threads.
fn on<C: Cell>(threads: usize, run: &Run<C>) -> Results {
    bptt::with_threads(threads, || run.on(&Device::cpu()))
}

/// The input product, large enough to be worth a second thread, of steps that it cannot part evenly; and two directions at once.
#[test]
fn two_threads_on_one_row_change_nothing() {
    for bidirectional in [false, true] {
        let config = Lstm::new(33, 65).bidirectional(bidirectional);
        let run = Run {
            lengths: Some(vec![100]),
            ..Run::new(config, [141, 1, 33])
        };
        let one = on(1, &run);
        assert!(one["y"].iter().any(|y| *y != 0.0));
        for _ in 0..5 {
            assert_eq!(on(2, &run), one);
        }
        let expected = run.on(&Device::cpu_f64());
        check("two threads", &one, &expected, SINGLE_THROUGH_TIME);
    }
}

/// Rows of two directions over more threads than there are directions, with every tensor that is parted among them.
#[test]
fn threads_on_rows_and_directions() {
    fn threads<C: Cell>(config: Recurrent<C>) {
        let config = config.bidirectional(true).zoneout(0.2, 0.1);
        let run = Run {
            train: Some((1, 2)),
            ..Run::new(config, [48, 11, 9]).ragged()
        };
        let expected = run.on(&Device::cpu_f64());
        for count in [1, 3, 8] {
            let got = on(count, &run);
            check(
                &format!("{count} threads"),
                &got,
                &expected,
                SINGLE_THROUGH_TIME,
            );
            assert_eq!(on(count, &run), got);
        }
    }
    threads(Lstm::new(9, 70).peepholes(true));
    threads(Lstm::new(9, 70).proj_size(33));
    threads(Gru::new(9, 70));
    threads(Gru::new(9, 70).reset_after(false));
}

/// Few rows of a layer so large that threads share the columns of its products.
#[test]
fn threads_on_columns() {
    fn threads<C: Cell>(config: Recurrent<C>, batch: usize) {
        for bidirectional in [false, true] {
            let config = config.clone().bidirectional(bidirectional);
            let run = Run::new(config, [40, batch, 9]).ragged();
            let alone = on(1, &run);
            let expected = run.on(&Device::cpu_f64());
            check("one thread", &alone, &expected, SINGLE_THROUGH_TIME);
            for count in [2, 4, 5] {
                let place = format!("{count} threads, bidirectional {bidirectional}");
                let got = on(count, &run);
                check(&place, &got, &alone, SINGLE_THROUGH_TIME);
                assert_eq!(on(count, &run), got, "{place}");
            }
        }
    }
    threads(Lstm::new(9, 200).zoneout(0.2, 0.1), 3);
    threads(Lstm::new(9, 300).proj_size(130), 4);
    threads(Gru::new(9, 257), 3);
    threads(Gru::new(9, 256), 3);
}
