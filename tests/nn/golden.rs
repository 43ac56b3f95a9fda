//! PyTorch's numbers (tests/golden, with the scripts that made them).

use crate::common::{Case, SINGLE_THROUGH_TIME, devices};
use bptt::data::Batch;
use bptt::nn::Model;
use bptt::program::{CrossEntropy, Gemm, Mse, Softmax, SoftmaxBackward};
use bptt::replay;
use bptt::train::{self, Optimizer, Trainer};
use bptt::verify::{DOUBLE, SINGLE, compare};
use bptt::{Device, Real};
use ndarray::ArrayD;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// All tensors of a file, in f64.
pub fn read(path: &Path) -> BTreeMap<String, ArrayD<f64>> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let values: Vec<f64> = match view.dtype() {
            safetensors::Dtype::F64 => bytemuck::pod_collect_to_vec(view.data()),
            safetensors::Dtype::F32 => bytemuck::pod_collect_to_vec::<u8, f32>(view.data())
                .into_iter()
                .map(f64::from)
                .collect(),
            safetensors::Dtype::I64 => bytemuck::pod_collect_to_vec::<u8, i64>(view.data())
                .into_iter()
                .map(|x| x as f64)
                .collect(),
            other => panic!("{name}: {other:?}"),
        };
        (name, ArrayD::from_shape_vec(view.shape(), values).unwrap())
    };
    file.tensors().into_iter().map(tensor).collect()
}

fn check_case<F: Real>(name: &str, case: &replay::Case, device: &Device, tolerance: f64) {
    let expected = read(&golden(&format!("{name}.out.safetensors")));
    let got = case
        .run::<F>(device)
        .unwrap_or_else(|error| panic!("{name} on {device}: {error}"));
    let names = |map: Vec<&String>| map.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(got.keys().collect()),
        names(expected.keys().collect()),
        "{name} on {device}"
    );
    for (tensor, expected) in &expected {
        let got = got[tensor].mapv(|x| x.to_double());
        if let Err(mismatch) = compare(tensor, &got, expected, tolerance) {
            panic!("{name} on {device}: {mismatch}");
        }
    }
}

/// Checks every case of a folder, of which there are so many. `oracle` is how exact its numbers are.
fn check_folder(folder: &str, cases: usize, oracle: f64) {
    let mut names: Vec<_> = std::fs::read_dir(golden(folder))
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .into_string()
                .unwrap()
                .strip_suffix(".case.safetensors")
                .map(String::from)
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), cases, "{folder}");
    for name in names {
        let name = format!("{folder}/{name}");
        let case = replay::Case::read(golden(&format!("{name}.case.safetensors")))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        check_case::<f64>(&name, &case, &Device::cpu_f64(), oracle);
        for device in devices() {
            check_case::<f32>(&name, &case, &device, SINGLE_THROUGH_TIME);
        }
    }
}

#[test]
fn recurrent() {
    check_folder("recurrent", 38, DOUBLE);
}

#[test]
fn recurrent_options() {
    check_folder("recurrent_options", 58, DOUBLE);
}

#[test]
fn keras() {
    check_folder("keras", 52, DOUBLE);
}

#[test]
fn onnxruntime() {
    // It computes in f32.
    check_folder("onnxruntime", 67, 1e-5);
}

#[test]
fn variants() {
    check_folder("variants", 84, DOUBLE);
}

/// A case over tensors of a golden file.
struct Golden {
    case: Case,
    tensors: BTreeMap<String, ArrayD<f64>>,
}

impl Golden {
    fn new(file: &str) -> Self {
        Self {
            case: Case::new(0),
            tensors: read(&golden(file)),
        }
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors[name].shape().to_vec()
    }

    fn given(&mut self, name: &str) -> bptt::program::Slice {
        let values = self.tensors[name].iter().map(|x| *x as f32).collect();
        let shape = self.shape(name);
        self.case.given(name, &shape, values)
    }

    fn output(&mut self, name: &str) -> bptt::program::Slice {
        let shape = self.shape(name);
        self.case.output(name, &shape)
    }

    fn loss(&mut self, name: &str) -> bptt::program::Slice {
        let loss = self.case.given(name, &[1], vec![0.0]);
        self.case.also_output(loss);
        loss
    }

    fn check(&self) {
        let checks = std::iter::once((Device::cpu_f64(), DOUBLE))
            .chain(devices().into_iter().map(|d| (d, SINGLE)));
        for (device, tolerance) in checks {
            for (name, got) in self.case.run(&device) {
                if let Err(mismatch) = compare(&name, &got, &self.tensors[&name], tolerance) {
                    panic!("on {device}: {mismatch}");
                }
            }
        }
    }
}

#[test]
fn squared_error() {
    let mut golden = Golden::new("losses.safetensors");
    let (prediction, target) = (golden.given("mse.input"), golden.given("mse.target"));
    for (reduction, scale) in [("mean", 1.0 / prediction.len as f64), ("sum", 1.0)] {
        let loss = golden.loss(&format!("mse.{reduction}.loss"));
        let gradient = Some(golden.output(&format!("mse.{reduction}.dinput")));
        golden.case.program.push(Mse {
            prediction,
            target,
            scale,
            row_weights: None,
            loss_weight: 1.0,
            loss,
            gradient,
        });
    }
    golden.check();
}

#[test]
fn cross_entropy() {
    let mut golden = Golden::new("losses.safetensors");
    for name in ["ce", "ce_large"] {
        let logits = golden.given(&format!("{name}.logits")).matrix(6, 5);
        let classes = golden.given(&format!("{name}.targets"));
        let loss = golden.loss(&format!("{name}.loss"));
        let gradient = Some(golden.output(&format!("{name}.dlogits")).matrix(6, 5));
        golden.case.program.push(CrossEntropy {
            logits,
            classes,
            row_weights: None,
            loss_weight: 1.0,
            loss,
            gradient,
        });
    }
    golden.check();
}

#[test]
fn softmax() {
    let mut golden = Golden::new("losses.safetensors");
    let input = golden.given("softmax.x").matrix(4, 9);
    let d_output = golden.given("softmax.dy").matrix(4, 9);
    let output = golden.output("softmax.y").matrix(4, 9);
    let d_input = golden.output("softmax.dx").matrix(4, 9);
    golden.case.program.push(Softmax { input, output });
    golden.case.program.push(SoftmaxBackward {
        output,
        d_output,
        d_input,
    });
    golden.check();
}

#[test]
fn linear() {
    let mut golden = Golden::new("losses.safetensors");
    let x = golden.given("linear.x").matrix(12, 5);
    let (weight, bias) = (
        golden.given("linear.weight").matrix(7, 5),
        golden.given("linear.bias"),
    );
    let dy = golden.given("linear.dy").matrix(12, 7);
    let y = golden.output("linear.y").matrix(12, 7);
    let (dx, dweight) = (
        golden.output("linear.dx").matrix(12, 5),
        golden.output("linear.dweight").matrix(7, 5),
    );
    let output = golden.output("linear.dbias");
    golden
        .case
        .program
        .push(Gemm::new(x, weight, y).transpose_b().bias(Some(bias)));
    golden.case.program.push(Gemm::new(dy, weight, dx));
    golden
        .case
        .program
        .push(Gemm::new(dy, x, dweight).transpose_a());
    golden.case.program.push(bptt::program::ColumnSum {
        input: dy,
        output: output.matrix(1, output.len),
        accumulate: false,
    });
    golden.check();
}

/// The optimizer a configuration of the file describes, and its clipping norm.
fn optimizer(config: &serde_json::Value) -> (Optimizer, Option<f64>) {
    let number = |key: &str| {
        config[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key} of {config}"))
    };
    let optimizer = match config["kind"].as_str() {
        Some("sgd") => train::Sgd {
            learning_rate: number("lr"),
            momentum: number("momentum"),
            nesterov: config["nesterov"].as_bool().unwrap(),
            weight_decay: number("weight_decay"),
        }
        .into(),
        Some(kind @ ("adam" | "adamw")) => train::Adam {
            learning_rate: number("lr"),
            betas: (number("beta1"), number("beta2")),
            epsilon: number("eps"),
            weight_decay: number("weight_decay"),
            decoupled: kind == "adamw",
        }
        .into(),
        kind => panic!("{kind:?}"),
    };
    (
        optimizer,
        config.get("clip_norm").and_then(serde_json::Value::as_f64),
    )
}

/// Six steps with PyTorch's gradients. The two parameters are the first weight and the second bias of two linear layers, the
/// others being zero with zero gradients, which no optimizer moves.
fn check_optimizer<F: Real>(
    name: &str,
    config: &serde_json::Value,
    device: &Device,
    tolerance: f64,
) {
    let tensors = read(&golden("optimizers.safetensors"));
    let (optimizer, clip_norm) = optimizer(config);
    let model = Sequential::new(3)
        .linear(7)
        .linear(5)
        .build(device, 0)
        .unwrap();
    let all = |first: &ArrayD<f64>, second: &ArrayD<f64>| {
        BTreeMap::from([
            ("0.weight".to_owned(), first.clone()),
            ("0.bias".to_owned(), ArrayD::zeros(&[7][..])),
            ("1.weight".to_owned(), ArrayD::zeros(&[5, 7][..])),
            ("1.bias".to_owned(), second.clone()),
        ])
    };
    model
        .parameters()
        .load(&all(&tensors["p.0"], &tensors["p.1"]))
        .unwrap();
    let mut trainer = Trainer::new(model, optimizer).build().unwrap();
    if let Some(clip_norm) = clip_norm {
        trainer = trainer.clip_norm(clip_norm).unwrap();
    }
    for step in 0..6 {
        let gradients = all(
            &tensors[&format!("g.{step}.0")],
            &tensors[&format!("g.{step}.1")],
        );
        trainer.apply_gradients(&gradients).unwrap();
        let weights = trainer.model().parameters().to_arrays::<F>().unwrap();
        for (index, weight) in [(0, "0.weight"), (1, "1.bias")] {
            let label = format!("{name}.{step}.{index}");
            let got = weights[weight].mapv(|x| x.to_double());
            if let Err(mismatch) = compare(&label, &got, &tensors[&label], tolerance) {
                panic!("on {device}: {mismatch}");
            }
        }
        if let Some(norm) = trainer.gradient_norm().unwrap() {
            let expected = &tensors[&format!("{name}.{step}.norm")];
            compare(
                "norm",
                &ndarray::arr1(&[norm]).into_dyn(),
                expected,
                tolerance,
            )
            .unwrap();
        }
    }
}

#[test]
fn optimizers() {
    let bytes = std::fs::read(golden("optimizers.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let configs: serde_json::Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["configs"]).unwrap();
    let configs = configs.as_object().unwrap();
    assert_eq!(configs.len(), 9);
    for (name, config) in configs {
        check_optimizer::<f64>(name, config, &Device::cpu_f64(), DOUBLE);
        for device in devices() {
            check_optimizer::<f32>(name, config, &device, SINGLE);
        }
    }
}

#[test]
fn a_training_batch_is_what_the_case_says() {
    // The golden files above drive operations; this ties a layer's bias to its name, so that a swap would show.
    let tensors = read(&golden("losses.safetensors"));
    for device in devices() {
        let model = Sequential::new(5).linear(7).build(&device, 0).unwrap();
        model
            .parameters()
            .set("0.weight", &tensors["linear.weight"])
            .unwrap();
        model
            .parameters()
            .set("0.bias", &tensors["linear.bias"])
            .unwrap();
        let x = tensors["linear.x"]
            .clone()
            .into_dimensionality::<ndarray::Ix3>()
            .unwrap();
        let y = model.predict(&x).unwrap();
        compare("linear.y", &y, &tensors["linear.y"], SINGLE).unwrap();
        let batch = Batch::new(x, tensors["linear.y"].clone());
        let mut trainer = Trainer::new(model, train::Sgd::new(0.0)).build().unwrap();
        trainer.step(&batch).unwrap();
        assert!(trainer.take_loss().unwrap() < 1e-10);
    }
}

#[test]
fn the_linear_layer_is_pytorchs() {
    let tensors = read(&golden("losses.safetensors"));
    for device in devices() {
        let layer = bptt::nn::Linear::new(&device, 5, 7, 0).unwrap();
        layer
            .parameters()
            .set("weight", &tensors["linear.weight"])
            .unwrap();
        layer
            .parameters()
            .set("bias", &tensors["linear.bias"])
            .unwrap();
        let x = bptt::Tensor::from_array(&device, &tensors["linear.x"]).unwrap();
        let y = layer.forward(&x).unwrap();
        compare(
            "linear.y",
            &y.to_array().unwrap(),
            &tensors["linear.y"],
            SINGLE,
        )
        .unwrap();
        let rows = layer.forward(&x.reshape(&[12, 5]).unwrap()).unwrap();
        assert_eq!(rows.shape(), [12, 7]);
        let error = layer.forward(&x.reshape(&[5, 12]).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("x: shape"), "{error}");
    }
}
