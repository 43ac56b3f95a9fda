//! PyTorch's numbers (tests/golden, with the scripts that made them).

use crate::common::{SINGLE_THROUGH_TIME, devices};
use bptt::data::{Batch, Values};
use bptt::graph::Var;
use bptt::nn::{Function, Init, InputSpec, Layer, Linear, Model, Scope, Sequential, Softmax};
use bptt::replay;
use bptt::train::{
    self, BinaryCrossEntropy, CrossEntropy, Huber, Loss, Mae, Mse, Quantile, Trainer,
    TrainerBuilder,
};
use bptt::verify::{DOUBLE, SINGLE, compare};
use bptt::{Device, Real, Tensor};
use ndarray::{Array3, ArrayD, arr1};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
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

/// The reference, then the f32 devices, each with how exact it is.
fn exact_devices() -> impl Iterator<Item = (Device, f64)> {
    std::iter::once((Device::cpu_f64(), DOUBLE)).chain(devices().into_iter().map(|d| (d, SINGLE)))
}

/// A weight of some shape as an output, so that a loss is of numbers at will and has gradients with respect to them.
#[derive(Debug)]
struct Given(Vec<usize>);

impl Layer for Given {
    type Input = Var;
    type Output = Var;
    fn forward(&self, s: &mut Scope<'_>, _: Var) -> bptt::Result<Var> {
        s.parameter("given", &self.0, Init::Constant(0.0))
    }
}

/// PyTorch's loss of an output and a target, and its gradient, each by its name in the file.
fn check_loss(
    loss: impl Loss + Copy + 'static,
    [output, target, value, gradient]: [&str; 4],
    values: fn(&ArrayD<f64>) -> Values,
) {
    let tensors = read(&golden("losses.safetensors"));
    for (device, tolerance) in exact_devices() {
        let layer = Given(tensors[output].shape().to_vec());
        let model = Model::new(&device, layer, &[InputSpec::sequence("x", 1)], 0).unwrap();
        model.parameters().set("given", &tensors[output]).unwrap();
        let trainer = Trainer::new(model, train::Sgd::new(0.0)).loss(loss);
        let mut trainer = trainer.build().unwrap();
        let x = Array3::<f32>::zeros((1, 1, 1));
        trainer
            .step(&Batch::new(x, values(&tensors[target])))
            .unwrap();
        let got = arr1(&[trainer.take_loss().unwrap()]).into_dyn();
        let expected = tensors[value]
            .clone()
            .into_shape_with_order(vec![1])
            .unwrap();
        let gradients = trainer.gradients::<f64>().unwrap();
        compare(value, &got, &expected, tolerance)
            .and_then(|_| compare(gradient, &gradients["given"], &tensors[gradient], tolerance))
            .unwrap_or_else(|mismatch| panic!("on {device}: {mismatch}"));
    }
}

#[test]
fn squared_error() {
    for (name, loss) in [("mean", Mse::mean()), ("sum", Mse::sum())] {
        let [value, gradient] = ["loss", "dinput"].map(|of| format!("mse.{name}.{of}"));
        let names = ["mse.input", "mse.target", &value, &gradient];
        check_loss(loss, names, |target| target.clone().into());
    }
}

#[test]
fn losses_of_errors() {
    fn check(name: &str, of: &str, loss: impl Loss + Copy + 'static) {
        let names = [
            format!("{of}.input"),
            format!("{of}.target"),
            format!("{name}.loss"),
            format!("{name}.dinput"),
        ];
        let names = names.each_ref().map(String::as_str);
        check_loss(loss, names, |target| target.clone().into());
    }
    check("mae", "error", Mae);
    check("huber", "error", Huber(0.75));
    check("quantile", "error", Quantile(0.9));
    check("bce", "bce", BinaryCrossEntropy);
}

#[test]
fn cross_entropy() {
    for name in ["ce", "ce_large"] {
        let names = ["logits", "targets", "loss", "dlogits"].map(|of| format!("{name}.{of}"));
        let names = names.each_ref().map(String::as_str);
        check_loss(CrossEntropy, names, |classes| {
            classes.mapv(|class| class as u32).into()
        });
    }
}

/// PyTorch's outputs of a function of inputs, all by name.
fn check_function(
    record: impl Fn(&mut Scope<'_>, &[Var]) -> bptt::Result<Vec<Var>> + Copy + Send + Sync + 'static,
    inputs: &[&str],
    outputs: &[&str],
) {
    let tensors = read(&golden("losses.safetensors"));
    for (device, tolerance) in exact_devices() {
        let tensor = |name: &&str| Tensor::from_array(&device, &tensors[*name]).unwrap();
        let inputs: Vec<Tensor> = inputs.iter().map(tensor).collect();
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        let got = Function::new(&device, record).call(&inputs).unwrap();
        assert_eq!(got.len(), outputs.len());
        for (name, got) in outputs.iter().zip(got) {
            let got = got.to_array::<f64>().unwrap();
            if let Err(mismatch) = compare(name, &got, &tensors[*name], tolerance) {
                panic!("on {device}: {mismatch}");
            }
        }
    }
}

/// An output, and its gradients with respect to some values, of which it has all.
fn with_gradients(s: &mut Scope<'_>, (y, dy): (Var, Var), of: &[Var]) -> bptt::Result<Vec<Var>> {
    let gradients = s.gradients(&[(y, dy)], of)?;
    let gradients = gradients
        .into_iter()
        .map(|gradient| gradient.expect("y depends on it"));
    Ok(std::iter::once(y).chain(gradients).collect())
}

#[test]
fn softmax() {
    let softmax = |s: &mut Scope<'_>, inputs: &[Var]| {
        let y = s.layer("softmax", &Softmax, inputs[0])?;
        with_gradients(s, (y, inputs[1]), &inputs[..1])
    };
    let (inputs, outputs) = (["softmax.x", "softmax.dy"], ["softmax.y", "softmax.dx"]);
    check_function(softmax, &inputs, &outputs);
}

#[test]
fn linear() {
    let linear = |s: &mut Scope<'_>, inputs: &[Var]| {
        let y = s.linear(inputs[0], inputs[1], Some(inputs[2]))?;
        with_gradients(s, (y, inputs[3]), &inputs[..3])
    };
    let inputs = ["linear.x", "linear.weight", "linear.bias", "linear.dy"];
    let outputs = ["linear.y", "linear.dx", "linear.dweight", "linear.dbias"];
    check_function(linear, &inputs, &outputs);
}

/// A trainer with the optimizer and the clipping that a configuration of the file describes; what it does not say is the default of both.
fn trainer(model: Model, config: &serde_json::Value) -> TrainerBuilder {
    let number = |key: &str, default: f64| config[key].as_f64().unwrap_or(default);
    let flag = |key: &str| config[key].as_bool().unwrap_or(false);
    let beta = |index: usize, default| config["betas"][index].as_f64().unwrap_or(default);
    let (learning_rate, weight_decay) = (number("lr", f64::NAN), number("weight_decay", 0.0));
    let trainer = match config["kind"].as_str().unwrap() {
        "SGD" => Trainer::new(
            model,
            train::Sgd {
                learning_rate,
                momentum: number("momentum", 0.0),
                nesterov: flag("nesterov"),
                weight_decay,
            },
        ),
        kind @ ("Adam" | "AdamW") => {
            let of = train::Adam::new(learning_rate);
            let betas = (beta(0, of.betas.0), beta(1, of.betas.1));
            let epsilon = number("eps", of.epsilon);
            if kind == "Adam" {
                let adam = of.betas(betas.0, betas.1).epsilon(epsilon);
                let adam = adam.weight_decay(weight_decay);
                let amsgrad = flag("amsgrad");
                Trainer::new(model, train::Adam { amsgrad, ..adam })
            } else {
                let adam = train::AdamW::new(learning_rate).betas(betas.0, betas.1);
                let adam = adam.epsilon(epsilon).weight_decay(weight_decay);
                match flag("amsgrad") {
                    true => Trainer::new(model, adam.amsgrad()),
                    false => Trainer::new(model, adam),
                }
            }
        }
        "RMSprop" => {
            let of = train::RmsProp::new(learning_rate);
            Trainer::new(
                model,
                train::RmsProp {
                    alpha: number("alpha", of.alpha),
                    epsilon: number("eps", of.epsilon),
                    momentum: number("momentum", of.momentum),
                    centered: flag("centered"),
                    weight_decay,
                    ..of
                },
            )
        }
        "Adagrad" => {
            let of = train::Adagrad::new(learning_rate);
            Trainer::new(
                model,
                train::Adagrad {
                    rate_decay: number("lr_decay", of.rate_decay),
                    initial: number("initial_accumulator_value", of.initial),
                    epsilon: number("eps", of.epsilon),
                    weight_decay,
                    ..of
                },
            )
        }
        "Adadelta" => {
            let of = train::Adadelta::new(learning_rate);
            Trainer::new(
                model,
                train::Adadelta {
                    rho: number("rho", of.rho),
                    epsilon: number("eps", of.epsilon),
                    weight_decay,
                    ..of
                },
            )
        }
        "NAdam" => {
            let of = train::NAdam::new(learning_rate);
            Trainer::new(
                model,
                train::NAdam {
                    betas: (beta(0, of.betas.0), beta(1, of.betas.1)),
                    epsilon: number("eps", of.epsilon),
                    momentum_decay: number("momentum_decay", of.momentum_decay),
                    decoupled: flag("decoupled_weight_decay"),
                    weight_decay,
                    ..of
                },
            )
        }
        "RAdam" => {
            let of = train::RAdam::new(learning_rate);
            Trainer::new(
                model,
                train::RAdam {
                    betas: (beta(0, of.betas.0), beta(1, of.betas.1)),
                    epsilon: number("eps", of.epsilon),
                    decoupled: flag("decoupled_weight_decay"),
                    weight_decay,
                    ..of
                },
            )
        }
        "Lion" => {
            let of = train::Lion::new(learning_rate);
            Trainer::new(
                model,
                train::Lion {
                    betas: (beta(0, of.betas.0), beta(1, of.betas.1)),
                    weight_decay,
                    ..of
                },
            )
        }
        kind => panic!("{kind}"),
    };
    let trainer = match config["clip_norm"].as_f64() {
        Some(clip_norm) => trainer.clip_norm(clip_norm),
        None => trainer,
    };
    match config["clip_value"].as_f64() {
        Some(clip_value) => trainer.clip_value(clip_value),
        None => trainer,
    }
}

/// Twenty steps with PyTorch's gradients. The two parameters are the first weight and the second bias of two linear layers, the
/// others being zero with zero gradients, which no optimizer moves.
fn check_optimizer<F: Real>(
    name: &str,
    config: &serde_json::Value,
    device: &Device,
    tolerance: f64,
) {
    let tensors = read(&golden("optimizers.safetensors"));
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
    let mut trainer = trainer(model, config).build().unwrap();
    for step in 0..20 {
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
    assert_eq!(configs.len(), 26);
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
        let layer = |x: InputSpec| {
            let layer = Model::new(&device, Linear::new(7), &[x], 0).unwrap();
            for name in ["weight", "bias"] {
                let values = &tensors[&format!("linear.{name}")];
                layer.parameters().set(name, values).unwrap();
            }
            layer
        };
        let x = Tensor::from_array(&device, &tensors["linear.x"]).unwrap();
        let y = layer(InputSpec::sequence("x", 5)).forward(&x).unwrap();
        compare(
            "linear.y",
            &y.to_array().unwrap(),
            &tensors["linear.y"],
            SINGLE,
        )
        .unwrap();
        let layer = layer(InputSpec::features("x", 5));
        let rows = layer.forward(&x.reshape(&[12, 5]).unwrap()).unwrap();
        assert_eq!(rows.shape(), [12, 7]);
        let error = layer.forward(&x.reshape(&[5, 12]).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("x: shape"), "{error}");
    }
}

/// A batch of 2⁴⁰ rows, of no steps, takes no bytes of a file, but the states that it has none of would.
#[test]
fn a_case_of_more_rows_than_there_is_memory_for_is_refused() {
    let whole = std::fs::read(golden("recurrent/lstm_c0only.case.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&whole).unwrap();
    let (_, header) = SafeTensors::read_metadata(&whole).unwrap();
    let x = tensors.tensor("x").unwrap();
    let shape = vec![0, 1 << 40, x.shape()[2]];
    let empty = TensorView::new(x.dtype(), shape, &[]).unwrap();
    let others = tensors.iter().filter(|(name, _)| *name != "x");
    let views = others.chain([("x", empty)]);
    let bytes = safetensors::serialize(views, header.metadata().clone()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let outcome = replay::Case::read(&path).and_then(|case| case.run::<f64>(&Device::cpu_f64()));
    assert!(outcome.is_err());
}
