//! The model of a workload, for the benches and for `examples/roofline`.

use super::policy::Workload;
use bptt::Device;
use bptt::nn::{GruConfig, LstmConfig, RnnConfig, Sequential};

/// One layer of a workload's cell and sizes.
pub fn model(device: &Device, workload: &Workload) -> Sequential {
    let (model, hidden) = (Sequential::new(workload.inputs), workload.hidden);
    let model = match workload.cell {
        "rnn" => model.rnn(RnnConfig::hidden(hidden)),
        "lstm" => model.lstm(LstmConfig::hidden(hidden)),
        _ => model.gru(GruConfig::hidden(hidden)),
    };
    model.build(device, 1).expect("the sizes are positive")
}
