//! The CPU path allocates nothing a step: how often a run allocates does not depend on T.

use allocation_counter::measure;
use bptt::data::Batch;
use bptt::nn::{Gru, Lstm, Rnn, Sequential};
use bptt::train::{Adam, Trainer};
use bptt::{Device, Tensor, with_threads};

/// How often this thread allocates in a forward pass and a training step of the shape, after the first of each.
fn counts(model: &dyn Fn(Sequential) -> Sequential, steps: usize) -> (u64, u64) {
    let device = Device::cpu();
    let build = || model(Sequential::new(3)).build(&device, 1).unwrap();
    let x = Tensor::zeros(&device, &[steps, 2, 3]).unwrap();
    let model = build();
    let y = model.forward(&x).unwrap();
    let forward = measure(|| drop(model.forward(&x).unwrap()));
    let mut trainer = Trainer::new(build(), Adam::new(1e-3)).build().unwrap();
    let batch = Batch::new(x, Tensor::zeros(&device, y.shape()).unwrap());
    trainer.step(&batch).unwrap();
    let train = measure(|| trainer.step(&batch).unwrap());
    (forward.count_total, train.count_total)
}

#[test]
fn a_run_allocates_as_often_for_many_steps_as_for_few() {
    let models: [&dyn Fn(Sequential) -> Sequential; 7] = [
        &|model| model.rnn(Rnn::hidden(5)),
        &|model| model.lstm(Lstm::hidden(5).layers(2)),
        &|model| model.gru(Gru::hidden(5).bidirectional(true)),
        &|model| model.lstm(Lstm::hidden(5)).last_step().linear(1),
        &|model| model.lstm(Lstm::hidden(5).peepholes(true).zoneout(0.2, 0.1)),
        &|model| model.lstm(Lstm::hidden(5).proj_size(3).zoneout(0.2, 0.1)),
        &|model| model.gru(Gru::hidden(5).reset_after(false)),
    ];
    for (index, model) in models.into_iter().enumerate() {
        for many in [[400, 500], [5_000, 20_000]] {
            let [few, many] = many.map(|steps| with_threads(1, || counts(model, steps)));
            assert_eq!(few, many, "model {index}: forward pass, training step");
            assert!(few.0 > 0, "nothing was counted");
        }
    }
    // Threads that share the columns of R do so a part of the sequence at a time. In a training step it depends on the moment which of
    // them does what.
    let model = |model: Sequential| model.lstm(Lstm::hidden(768));
    let [_, few, many] = [150, 150, 400].map(|steps| with_threads(2, || counts(&model, steps)));
    assert_eq!(few.0, many.0, "two threads: forward pass");
}
