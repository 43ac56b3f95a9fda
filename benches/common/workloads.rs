//! The workloads that other libraries are timed at, and that `examples/roofline` predicts.

use bptt::Device;
use bptt::nn::{GruConfig, LstmConfig, RnnConfig, Sequential};

/// Name, cell, I, H, T, B.
pub const WORKLOADS: [(&str, &str, [usize; 4]); 10] = [
    ("W1", "rnn", [3, 5, 4, 1]),
    ("W1", "lstm", [3, 5, 4, 1]),
    ("W1", "gru", [3, 5, 4, 1]),
    ("W2", "lstm", [32, 64, 256, 1]),
    ("W3", "lstm", [64, 128, 128, 32]),
    ("W3", "gru", [64, 128, 128, 32]),
    ("W4", "lstm", [128, 512, 64, 64]),
    ("W5", "lstm", [512, 512, 100, 64]),
    ("W5b", "lstm", [768, 768, 256, 16]),
    ("W6", "gru", [16, 64, 2048, 8]),
];

/// One layer of a cell, of sizes I, H, T, B.
pub fn model(device: &Device, cell: &str, [inputs, hidden, _, _]: [usize; 4]) -> Sequential {
    let model = Sequential::new(inputs);
    let model = match cell {
        "rnn" => model.rnn(RnnConfig::hidden(hidden)),
        "lstm" => model.lstm(LstmConfig::hidden(hidden)),
        _ => model.gru(GruConfig::hidden(hidden)),
    };
    model.build(device, 1).expect("the sizes are positive")
}
