//! Names, first values and files of weights.

use crate::common::devices;
use bptt::nn::{Gru, Lstm, Model, Rnn, Sequential};
use bptt::{Device, Error, Tensor};
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

fn model(device: &Device, seed: u64) -> Model {
    let model = Sequential::new(3).lstm(Lstm::hidden(4)).linear(2);
    model.build(device, seed).unwrap()
}

#[test]
fn f64_files_keep_their_precision_where_the_device_computes_in_f64() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let saved = model(&Device::cpu_f64(), 1);
    let third = ArrayD::from_elem(&[2][..], 1.0_f64 / 3.0);
    saved.parameters().set("1.bias", &third).unwrap();
    saved.parameters().save(&path).unwrap();
    let loaded = model(&Device::cpu_f64(), 2);
    loaded.parameters().load_file(&path).unwrap();
    let arrays = |model: &Model| model.parameters().to_arrays::<f64>().unwrap();
    assert_eq!(arrays(&saved), arrays(&loaded));
    assert_eq!(arrays(&loaded)["1.bias"], third);
    for device in devices() {
        let rounded = model(&device, 3);
        rounded.parameters().load_file(&path).unwrap();
        assert_eq!(
            arrays(&rounded)["1.bias"],
            third.mapv(|x| f64::from(x as f32)),
            "{device}"
        );
    }
}

#[test]
fn numbers_that_a_device_does_not_have_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let reference = model(&Device::cpu_f64(), 1);
    let mut values = ArrayD::from_elem(&[2][..], 0.5);
    values[1] = -1e300;
    reference.parameters().set("1.bias", &values).unwrap();
    reference.parameters().save(&path).unwrap();
    let refused = |outcome: bptt::Result<()>, name: &str| {
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{name}: -1e300, expected within ±3.4028235e38")),
            "{error}"
        );
    };
    for device in devices() {
        let other = model(&device, 2);
        let before = other.parameters().to_arrays::<f32>().unwrap();
        refused(other.parameters().load_file(&path), "1.bias");
        refused(other.parameters().set("1.bias", &values), "1.bias");
        assert_eq!(
            other.parameters().to_arrays::<f32>().unwrap(),
            before,
            "{device}"
        );
        refused(Tensor::from_array(&device, &values).map(drop), "array");
        let x = ndarray::Array3::from_elem((2, 1, 3), -1e300);
        refused(other.predict(&x).map(drop), "x");
        let target = ndarray::Array3::from_elem((2, 1, 2), -1e300);
        let mut trainer = bptt::train::Trainer::new(other, bptt::train::Sgd::new(0.1))
            .build()
            .unwrap();
        let zeros = ndarray::Array3::<f64>::zeros((2, 1, 3));
        refused(
            trainer.step(&bptt::data::Batch::new(zeros, target)),
            "target",
        );
        // What is infinite already stays so, and what is small is rounded.
        let extremes = ndarray::arr1(&[f64::INFINITY, f64::NAN, 1e-300]);
        let read = Tensor::from_array(&device, &extremes)
            .unwrap()
            .to_array::<f32>()
            .unwrap();
        assert!(
            read[0] == f32::INFINITY && read[1].is_nan() && read[2] == 0.0,
            "{device}"
        );
    }
}
