//! The model of a workload, for the benches and for `examples/roofline`.

use super::policy::Workload;
use bptt::Device;
use bptt::nn::{Gru, Lstm, Model, Rnn, Sequential};

/// One layer of a workload's cell and sizes.
pub fn model(device: &Device, workload: &Workload) -> Model {
    let (model, hidden) = (Sequential::new(workload.inputs), workload.hidden);
    let model = match workload.cell {
        "rnn" => model.rnn(Rnn::hidden(hidden)),
        "lstm" => model.lstm(Lstm::hidden(hidden)),
        _ => model.gru(Gru::hidden(hidden)),
    };
    model.build(device, 1).expect("the sizes are positive")
}
