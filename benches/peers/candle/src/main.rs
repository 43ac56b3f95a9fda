//! Candle on the CPU: `peer-candle --reference FOLDER [WORKLOAD [CELL [PHASE]]]`; RAYON_NUM_THREADS sets its threads.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::rnn::{GRU, LSTM, RNN};
use candle_nn::{AdamW, GRUConfig, LSTMConfig, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use peer_common::Peer;
use peer_common::policy::Workload;
use peer_common::reference::{Elements, Reference};

enum Layer {
    Lstm(LSTM),
    Gru(GRU),
}

impl Layer {
    fn new(workload: &Workload, vars: VarBuilder) -> Result<Self> {
        let Workload { inputs, hidden, .. } = *workload;
        Ok(match workload.cell {
            "gru" => Self::Gru(candle_nn::gru(inputs, hidden, GRUConfig::default(), vars)?),
            _ => Self::Lstm(candle_nn::lstm(
                inputs,
                hidden,
                LSTMConfig::default(),
                vars,
            )?),
        })
    }

    /// `[B, T, I]` → `[B, T, H]`
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Lstm(layer) => layer.states_to_tensor(&layer.seq(x)?),
            // GRU::states_to_tensor would give [B, T · H].
            Self::Gru(layer) => {
                let states: Vec<_> = layer.seq(x)?.into_iter().map(|state| state.h).collect();
                Tensor::stack(&states, 1)
            }
        }
    }
}

struct Candle {
    vars: VarMap,
    layer: Layer,
    /// The same weights as plain tensors, so that no graph is recorded.
    frozen: Layer,
    x: Tensor,
    target: Tensor,
    optimizer: AdamW,
}

fn from_reference((values, shape): Elements) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn elements(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

impl Candle {
    fn create(workload: &Workload, reference: Option<&Reference>) -> Result<Self> {
        let device = Device::Cpu;
        let vars = VarMap::new();
        let layer = Layer::new(
            workload,
            VarBuilder::from_varmap(&vars, DType::F32, &device),
        )?;
        let sequence = |name: &str, features: usize| match reference {
            // Candle takes [B, T, I].
            Some(reference) => from_reference(reference.get(name))?
                .transpose(0, 1)?
                .contiguous(),
            None => Tensor::randn(
                0f32,
                1.,
                (workload.batch, workload.steps, features),
                &device,
            ),
        };
        let x = sequence("x", workload.inputs)?;
        let target = sequence("target", workload.hidden)?;
        let named = vars.data().lock().expect("no thread panicked").clone();
        for (name, weights) in reference.map(Reference::weights).unwrap_or_default() {
            named[&name].set(&from_reference(weights)?)?;
        }
        let plain = named
            .iter()
            .map(|(name, var)| (name.clone(), var.as_detached_tensor()));
        let plain = VarBuilder::from_tensors(plain.collect(), DType::F32, &device);
        let parameters = ParamsAdamW {
            lr: 1e-3,
            weight_decay: 0.0,
            ..Default::default()
        };
        Ok(Self {
            frozen: Layer::new(workload, plain)?,
            optimizer: AdamW::new(vars.all_vars(), parameters)?,
            vars,
            layer,
            x,
            target,
        })
    }

    fn loss(&self) -> Result<Tensor> {
        candle_nn::loss::mse(&self.layer.forward(&self.x)?, &self.target)
    }
}

impl Peer for Candle {
    type Output = Tensor;

    fn new(workload: &Workload, reference: Option<&Reference>) -> Self {
        Self::create(workload, reference).expect("the shapes fit")
    }

    fn infer(&self) -> Tensor {
        self.frozen.forward(&self.x).expect("the shapes fit")
    }

    fn elements(&self, y: Tensor) -> Vec<f32> {
        let y = y.transpose(0, 1).and_then(|y| elements(&y));
        y.expect("y is [B, T, H]")
    }

    fn train(&mut self) {
        let loss = self.loss().expect("the shapes fit");
        self.optimizer.backward_step(&loss).expect("the shapes fit");
    }

    fn gradients(&self) -> Vec<(String, Vec<f32>)> {
        let loss = self.loss().and_then(|loss| loss.backward());
        let gradients = loss.expect("the shapes fit");
        let vars = self.vars.data().lock().expect("no thread panicked");
        let gradient = |(name, var): (&String, &candle_core::Var)| {
            let gradient = gradients.get(var).expect("every weight has a gradient");
            (name.clone(), elements(gradient).expect("it is f32"))
        };
        vars.iter().map(gradient).collect()
    }
}

fn main() {
    let words = std::env::args().skip(1).collect();
    peer_common::run::<Candle>("candle", "cpu", &["lstm", "gru"], words);
}
