//! The model of a workload, for the benches and for `examples/roofline`.

use super::policy::Workload;
use bptt::Device;
use bptt::cell::Cell;
use bptt::nn::{Gru, Lstm, Model, Recurrent, Rnn, Sequential};

/// A workload's stack.
pub fn model(device: &Device, workload: &Workload) -> Model {
    fn stack<C: Cell>(config: Recurrent<C>, workload: &Workload) -> Recurrent<C> {
        let both = workload.directions == 2;
        config.layers(workload.layers).bidirectional(both)
    }
    let (model, hidden) = (Sequential::new(workload.inputs), workload.hidden);
    let model = match workload.cell {
        "rnn" => model.rnn(stack(Rnn::hidden(hidden), workload)),
        "lstm" => model.lstm(stack(Lstm::hidden(hidden), workload)),
        _ => model.gru(stack(Gru::hidden(hidden), workload)),
    };
    model.build(device, 1).expect("the sizes are positive")
}
