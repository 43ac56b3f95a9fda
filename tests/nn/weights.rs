//! Names, first values and files of weights.

use crate::common::devices;
use bptt::nn::{Gru, Lstm, Model, Rnn, Sequential};
use bptt::{Device, Error};
use ndarray::ArrayD;

#[test]
fn names_and_shapes_are_pytorchs() {
    let device = Device::cpu();
    let lstm = Lstm::new(3, 5)
        .layers(2)
        .bidirectional(true)
        .build(&device, 0)
        .unwrap();
    let names: Vec<_> = lstm.parameters().names().collect();
    let expected: Vec<String> = ["l0", "l0_reverse", "l1", "l1_reverse"]
        .iter()
        .flat_map(|layer| {
            ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(|name| format!("{name}_{layer}"))
        })
        .collect();
    assert_eq!(names, expected);
    assert_eq!(lstm.parameters().shape("weight_ih_l0").unwrap(), [20, 3]);
    assert_eq!(
        lstm.parameters().shape("weight_ih_l1_reverse").unwrap(),
        [20, 10]
    );
    assert_eq!(lstm.parameters().shape("weight_hh_l1").unwrap(), [20, 5]);
    assert_eq!(
        lstm.parameters().count(),
        2 * (20 * 3 + 20 * 5 + 40) + 2 * (20 * 10 + 20 * 5 + 40)
    );
    let gru = Gru::new(3, 5).bias(false).build(&device, 0).unwrap();
    assert_eq!(
        gru.parameters().names().collect::<Vec<_>>(),
        ["weight_ih_l0", "weight_hh_l0"]
    );
    assert_eq!(gru.parameters().shape("weight_hh_l0").unwrap(), [15, 5]);
    let model = Sequential::new(3)
        .rnn(Rnn::hidden(4))
        .last_step()
        .linear(2)
        .build(&device, 0)
        .unwrap();
    let expected = [
        "0.weight_ih_l0",
        "0.weight_hh_l0",
        "0.bias_ih_l0",
        "0.bias_hh_l0",
        "2.weight",
        "2.bias",
    ];
    assert_eq!(model.parameters().names().collect::<Vec<_>>(), expected);
}

fn flat(device: &Device, config: Lstm, seed: u64) -> Vec<f32> {
    let weights = config
        .build(device, seed)
        .unwrap()
        .parameters()
        .to_arrays::<f32>()
        .unwrap();
    weights.into_values().flatten().collect()
}

#[test]
fn first_values_are_the_same_on_every_device_and_differ_by_seed() {
    let config = || Lstm::new(7, 33).layers(2);
    let expected = flat(&Device::cpu_f64(), config(), 5);
    for device in devices() {
        assert_eq!(flat(&device, config(), 5), expected, "{device}");
    }
    assert_ne!(flat(&Device::cpu(), config(), 6), expected);
}

#[test]
fn first_values_are_uniform_in_the_bound() {
    let values = flat(&Device::cpu(), Lstm::new(20, 64), 1);
    let bound = 1.0 / 8.0;
    assert!(values.iter().all(|x| x.abs() <= bound));
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    let variance = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
    assert!(mean.abs() < 0.002, "{mean}");
    assert!((variance - bound * bound / 3.0).abs() < 1e-4, "{variance}");
}

#[test]
fn forget_bias_is_set_once() {
    let lstm = Lstm::new(3, 5)
        .layers(2)
        .forget_bias(1.0)
        .build(&Device::cpu(), 1)
        .unwrap();
    let plain = Lstm::new(3, 5).layers(2).build(&Device::cpu(), 1).unwrap();
    let (with, without) = (
        lstm.parameters().to_arrays::<f32>().unwrap(),
        plain.parameters().to_arrays::<f32>().unwrap(),
    );
    for (name, values) in &with {
        for (index, (value, drawn)) in values.iter().zip(&without[name]).enumerate() {
            let forget = name.starts_with("bias") && (5..10).contains(&index);
            let expected = if !forget {
                *drawn
            } else if name.starts_with("bias_ih") {
                1.0
            } else {
                0.0
            };
            assert_eq!(*value, expected, "{name}[{index}]");
        }
    }
}

#[test]
fn files_bring_back_every_bit_and_refuse_what_does_not_fit() {
    let folder = std::env::temp_dir().join(format!("bptt-weights-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.safetensors");
    let build = |device: &Device, hidden, seed| {
        Sequential::new(3)
            .lstm(Lstm::hidden(hidden))
            .linear(2)
            .build(device, seed)
            .unwrap()
    };
    for device in devices() {
        let saved = build(&device, 5, 1);
        saved.parameters().save(&path).unwrap();
        let loaded = build(&Device::cpu(), 5, 2);
        loaded.parameters().load_file(&path).unwrap();
        let arrays = |model: &Model| model.parameters().to_arrays::<f32>().unwrap();
        assert_eq!(arrays(&saved), arrays(&loaded), "{device}");
        let other = build(&device, 6, 3);
        let before = arrays(&other);
        let error = other.parameters().load_file(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            "0.weight_ih_l0: shape [20, 3], expected [24, 3]"
        );
        assert_eq!(arrays(&other), before, "a refused file must change nothing");
    }
    let error = build(&Device::cpu(), 5, 1)
        .parameters()
        .load_file(folder.join("none"))
        .unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
    std::fs::write(&path, b"not a file of weights").unwrap();
    let error = build(&Device::cpu(), 5, 1)
        .parameters()
        .load_file(&path)
        .unwrap_err();
    assert!(
        error.to_string().contains("not a safetensors file"),
        "{error}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn missing_and_unknown_weights_are_named() {
    let model = Sequential::new(3)
        .linear(2)
        .build(&Device::cpu(), 0)
        .unwrap();
    let mut weights = model.parameters().to_arrays::<f32>().unwrap();
    weights.insert("extra".into(), ArrayD::zeros(&[1][..]));
    let error = model.parameters().load(&weights).unwrap_err().to_string();
    assert!(error.starts_with("extra: present"), "{error}");
    weights.remove("extra");
    weights.remove("0.bias");
    let error = model.parameters().load(&weights).unwrap_err().to_string();
    assert!(
        error.starts_with("0.bias: missing, expected a tensor of shape [2]"),
        "{error}"
    );
}
