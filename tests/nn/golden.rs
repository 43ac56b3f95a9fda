//! PyTorch's numbers (tests/golden, with the scripts that made them).

use crate::common::{SINGLE_THROUGH_TIME, devices};
use bptt::data::{Batch, Values};
use bptt::graph::Var;
use bptt::nn::{Function, Init, InputSpec, Layer, Linear, Model, Scope, Sequential, Softmax};
use bptt::replay;
use bptt::train::{
    self, BinaryCrossEntropy, CrossEntropy, Huber, Loss, Mae, Mse, Quantile, Trainer,
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
