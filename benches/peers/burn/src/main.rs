//! Burn: `peer-burn flex|wgpu --reference FOLDER [WORKLOAD [CELL [PHASE]]]`; RAYON_NUM_THREADS sets the threads of `flex`.

use burn::module::{Module, Param};
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{GateController, Gru, GruConfig, Linear, Lstm, LstmConfig, Rnn, RnnConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use peer_common::Peer;
use peer_common::policy::Workload;
use peer_common::reference::{Elements, Reference};

#[derive(Module, Debug)]
enum Layer {
    Rnn(Rnn),
    Lstm(Lstm),
    Gru(Gru),
}

impl Layer {
    fn new(workload: &Workload, device: &Device) -> Self {
        let Workload { inputs, hidden, .. } = *workload;
        match workload.cell {
            "rnn" => Self::Rnn(RnnConfig::new(inputs, hidden, true).init(device)),
            "gru" => Self::Gru(GruConfig::new(inputs, hidden, true).init(device)),
            _ => Self::Lstm(LstmConfig::new(inputs, hidden, true).init(device)),
        }
    }

    /// `[B, T, I]` → `[B, T, H]`
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Rnn(layer) => layer.forward(x, None).0,
            Self::Lstm(layer) => layer.forward(x, None).0,
            Self::Gru(layer) => layer.forward(x, None),
        }
    }

    /// The gates in PyTorch's order.
    fn gates(&mut self) -> Vec<&mut GateController> {
        match self {
            Self::Rnn(layer) => vec![&mut layer.gate],
            Self::Lstm(layer) => vec![
                &mut layer.input_gate,
                layer.forget_gate.as_mut().expect("it is not coupled"),
                &mut layer.cell_gate,
                &mut layer.output_gate,
            ],
            Self::Gru(layer) => vec![
                &mut layer.reset_gate,
                &mut layer.update_gate,
                &mut layer.new_gate,
            ],
        }
    }

    fn load(&mut self, hidden: usize, reference: &Reference, device: &Device) {
        let [weight_ih, weight_hh, bias_ih, bias_hh] =
            ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
                .map(|name| reference.get(name));
        for (index, gate) in self.gates().into_iter().enumerate() {
            let rows = index * hidden..(index + 1) * hidden;
            let linear = |(weight, shape): &Elements, (bias, _): &Elements| {
                let features = shape[1];
                // PyTorch keeps [H, F], Burn [F, H].
                let columns = (0..features)
                    .map(|column| rows.clone().map(move |row| row * features + column));
                let weight: Vec<_> = columns.flatten().map(|index| weight[index]).collect();
                let weight = TensorData::new(weight, [features, hidden]);
                let bias = TensorData::new(bias[rows.clone()].to_vec(), [hidden]);
                Linear {
                    weight: Param::from_data(weight, device),
                    bias: Some(Param::from_data(bias, device)),
                }
            };
            gate.input_transform = linear(&weight_ih, &bias_ih);
            gate.hidden_transform = linear(&weight_hh, &bias_hh);
        }
    }
}

struct Burn {
    /// Without a graph.
    frozen: (Layer, Tensor<3>),
    device: Device,
    /// `None` while an optimizer step has it.
    layer: Option<Layer>,
    x: Tensor<3>,
    target: Tensor<3>,
    optimizer: ModuleOptimizer,
}

fn device() -> Device {
    match std::env::args().nth(1).as_deref() {
        #[cfg(feature = "flex")]
        Some("flex") => Device::flex(),
        #[cfg(feature = "wgpu")]
        Some("wgpu") => Device::wgpu(Default::default()),
        other => panic!("{other:?} is not a backend of this build"),
    }
}

impl Burn {
    fn loss(&self, layer: &Layer) -> Tensor<1> {
        let y = layer.forward(self.x.clone());
        MseLoss::new().forward(y, self.target.clone(), Reduction::Mean)
    }
}

impl Peer for Burn {
    type Output = Tensor<3>;

    fn new(workload: &Workload, reference: Option<&Reference>) -> Self {
        let (plain, device) = (device(), device().autodiff());
        let layer = |device: &Device| {
            let mut layer = Layer::new(workload, device);
            if let Some(reference) = reference {
                layer.load(workload.hidden, reference, device);
            }
            layer
        };
        // Burn takes [B, T, I].
        let sequence = |name: &str, features: usize, device: &Device| match reference {
            Some(reference) => {
                let (values, shape) = reference.get(name);
                let shape = [shape[0], shape[1], features];
                Tensor::<3>::from_data(TensorData::new(values, shape), device).swap_dims(0, 1)
            }
            None => {
                let shape = [workload.batch, workload.steps, features];
                Tensor::random(shape, Distribution::Default, device)
            }
        };
        Self {
            frozen: (layer(&plain), sequence("x", workload.inputs, &plain)),
            layer: Some(layer(&device)),
            x: sequence("x", workload.inputs, &device),
            target: sequence("target", workload.hidden, &device),
            optimizer: AdamConfig::new().with_epsilon(1e-8).init(),
            device: plain,
        }
    }

    fn infer(&self) -> Tensor<3> {
        let (layer, x) = &self.frozen;
        let y = layer.forward(x.clone());
        self.device.sync().expect("the device works");
        y
    }

    fn elements(&self, y: Tensor<3>) -> Vec<f32> {
        elements(y.swap_dims(0, 1))
    }

    fn train(&mut self) {
        let layer = self.layer.take().expect("it is given back below");
        let gradients = GradientsParams::from_grads(self.loss(&layer).backward(), &layer);
        self.layer = Some(self.optimizer.step(1e-3, layer, gradients));
        self.device.sync().expect("the device works");
    }

    fn gradients(&self) -> Vec<(String, Vec<f32>)> {
        let mut layer = self.layer.clone().expect("no step is under way");
        let gradients = self.loss(&layer).backward();
        let mut named = ["weight_ih_l0", "weight_hh_l0"].map(|name| (name.to_owned(), vec![]));
        for gate in layer.gates() {
            for (linear, (_, values)) in [&gate.input_transform, &gate.hidden_transform]
                .into_iter()
                .zip(&mut named)
            {
                let gradient = linear.weight.val().grad(&gradients);
                values.extend(elements(
                    gradient.expect("every weight has one").transpose(),
                ));
            }
        }
        named.into()
    }
}

fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("it is f32")
}

fn main() {
    let mut words: Vec<_> = std::env::args().skip(1).collect();
    let backend = if words.is_empty() {
        String::new()
    } else {
        words.remove(0)
    };
    let kind = if backend == "wgpu" { "gpu" } else { "cpu" };
    peer_common::run::<Burn>(
        &format!("burn-{backend}"),
        kind,
        &["rnn", "lstm", "gru"],
        words,
    );
}
