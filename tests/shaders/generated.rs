//! The kernels that are generated for every layer, loss, optimizer, metric and option of this crate.

use bptt::data::{Batch, Sequence, Values};
use bptt::expr::Lanes;
use bptt::gpu::Shader;
use bptt::graph::Var;
use bptt::nn::{
    Activation, Bias, Concat, Dropout, Embedding, Function, Gru, Input, InputSpec, LastStep, Layer,
    LayerNorm, Linear, Lstm, MaxOverTime, MeanOverTime, Model, Residual, RmsNorm, Rnn, Scope,
    Sequential, Softmax,
};
use bptt::train::{
    Accuracy, Adam, AdamW, CrossEntropy, Huber, Loss, Metric, Mse, Optimizer, RmsProp, Rmse, Sgd,
    Trainer,
};
use bptt::{Device, Tensor};
use ndarray::{Array, ArrayD};

/// T, B, F: no two equal.
const SHAPE: [usize; 3] = [5, 3, 4];
const LENGTHS: [usize; 3] = [5, 0, 3];

const ACTIVATIONS: [Activation; 8] = [
    Activation::Relu,
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Gelu,
    Activation::Silu,
    Activation::Softplus,
    Activation::Elu(0.7),
    Activation::LeakyRelu(0.02),
];

fn floats(shape: &[usize]) -> ArrayD<f32> {
    Array::zeros(shape)
}

/// A layer's kernels, forward and backward, with and without lengths, in training and not. `input`: of which shape.
fn of_layer<L>(all: &mut Vec<Shader>, layer: L, input: InputSpec, tokens: bool)
where
    L: Layer<Input = Var, Output = Var> + Clone + 'static,
{
    let device = Device::cpu();
    let model = Model::new(&device, layer.clone(), &[input], 1).unwrap();
    let x = match tokens {
        true => Tensor::from_indices(&device, &Array::zeros((SHAPE[0], SHAPE[1]))).unwrap(),
        false => Tensor::from_array(&device, &floats(&SHAPE)).unwrap(),
    };
    let names: Vec<String> = model.parameters().names().map(str::to_owned).collect();
    let call = Function::new(&device, move |s, inputs| {
        let y = layer.forward(s, inputs[0])?;
        let shape = s.shape(y).to_vec();
        let seed = s.constant(&shape, 1.0);
        let seed = s.map("seed", [seed, y], |[seed, y]| seed * y)?;
        let mut of = if tokens { vec![] } else { vec![inputs[0]] };
        for name in &names {
            of.push(s.shared(name)?);
        }
        let gradients = s.gradients(&[(y, seed)], &of)?;
        Ok(std::iter::once(y)
            .chain(gradients.into_iter().flatten())
            .collect())
    });
    let call = call.with_parameters(model.parameters());
    for input in [Input::from(&x), Input::with_lengths(&x, &LENGTHS)] {
        for input in [input, input.train(1, 2)] {
            all.extend_from_slice(call.plan(&[input]).unwrap().shaders());
        }
    }
}

/// Values side by side, as a layer of one input.
#[derive(Clone, Copy, Debug)]
struct Beside;

impl Layer for Beside {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        let y = s.layer("softmax", &Softmax, x)?;
        let z = s.layer("tanh", &Activation::Tanh, x)?;
        s.layer("concat", &Concat, vec![x, y, z, x])
    }
}

/// What a scope offers besides.
#[derive(Clone, Copy, Debug)]
struct Operations;

impl Layer for Operations {
    type Input = Var;
    type Output = Var;

    fn forward(&self, s: &mut Scope<'_>, x: Var) -> bptt::Result<Var> {
        let turned = s.permute(x, &[2, 1, 0])?;
        let [features, batch, steps] = *s.shape(turned) else {
            unreachable!("x is a sequence")
        };
        let half = batch.div_ceil(2);
        let part = s.slice(turned, 1, batch - half, half)?;
        let flat = s.reshape(part, &[features * half, steps])?;
        let table = s.permute(flat, &[1, 0])?;
        let product = s.matmul(turned, table)?;
        let norm = s.fold_rows("norm", [product], |row, [x]| (row.sum(x * x) + 1.0).sqrt())?;
        let sum = s.sum(norm, &[1])?;
        s.map("every", [x, sum], |[x, y]| {
            let z = x.abs().sqrt() + x.exp().ln() - x.exp_m1().min(y) / y.erf().max(x.sigmoid());
            (z.softplus() - x.tanh()).where_positive(-z, z.complement())
        })
    }
}

/// A training step's kernels.
fn of_trainer(
    all: &mut Vec<Shader>,
    model: Sequential,
    loss: impl Loss + 'static,
    optimizer: impl Optimizer + 'static,
    target: impl Into<Values> + Clone,
) {
    let device = Device::cpu();
    // Frozen layers and groups besides.
    let trainer = Trainer::new(model.build(&device, 1).unwrap(), optimizer)
        .loss(loss)
        .clip_norm(1.0);
    let trainer = trainer
        .group("1.", Adam::new(1e-2))
        .freeze("0.")
        .build()
        .unwrap();
    let batch = Batch::new(
        floats(&SHAPE)
            .into_dimensionality::<ndarray::Ix3>()
            .unwrap(),
        target.clone(),
    );
    all.extend_from_slice(trainer.plan(&batch).unwrap().shaders());
    let x = Sequence::new(
        floats(&SHAPE)
            .into_dimensionality::<ndarray::Ix3>()
            .unwrap(),
    );
    let batch = Batch::of([x.with_lengths(LENGTHS.to_vec())], target);
    all.extend_from_slice(trainer.plan(&batch).unwrap().shaders());
}

/// All of them; names repeat.
pub fn generated() -> Vec<Shader> {
    let mut all = vec![];
    let sequence = || InputSpec::sequence("x", SHAPE[2]);
    for activation in ACTIVATIONS {
        of_layer(&mut all, activation, sequence(), false);
    }
    of_layer(&mut all, Linear::new(7), sequence(), false);
    of_layer(&mut all, Linear::new(7).bias(false), sequence(), false);
    of_layer(&mut all, Dropout::new(0.3), sequence(), false);
    of_layer(&mut all, LayerNorm::new(), sequence(), false);
    of_layer(&mut all, RmsNorm::default(), sequence(), false);
    of_layer(&mut all, Softmax, sequence(), false);
    of_layer(&mut all, LastStep, sequence(), false);
    of_layer(&mut all, MeanOverTime, sequence(), false);
    of_layer(&mut all, MaxOverTime, sequence(), false);
    of_layer(&mut all, Residual(LayerNorm::new()), sequence(), false);
    of_layer(&mut all, Beside, sequence(), false);
    of_layer(&mut all, Operations, sequence(), false);
    of_layer(
        &mut all,
        Embedding::new(11, 3),
        InputSpec::tokens("x"),
        true,
    );

    // Recurrences with all their options.
    let rates = [0.2, 0.3, 0.1];
    let device = Device::cpu();
    let x = floats(&SHAPE)
        .into_dimensionality::<ndarray::Ix3>()
        .unwrap();
    let lstms = [
        Lstm::hidden(6),
        Lstm::hidden(6)
            .layers(2)
            .bidirectional(true)
            .dropout(rates[0])
            .input_dropout(rates[1])
            .recurrent_dropout(rates[2]),
        Lstm::hidden(6)
            .proj_size(3)
            .weight_dropout(0.2)
            .zoneout(0.1, 0.2),
        Lstm::hidden(6)
            .peepholes(true)
            .cell_clip(0.5)
            .bias(Bias::One),
        Lstm::hidden(SHAPE[2]).skip_input(true).bias(false),
        Lstm::hidden(SHAPE[2]).skip_input(true).bidirectional(true),
    ];
    let grus = [
        Gru::hidden(6),
        Gru::hidden(6)
            .reset_after(false)
            .weight_dropout(0.2)
            .bias(Bias::One),
    ];
    let start = || Sequential::new(SHAPE[2]);
    let mut models: Vec<Box<dyn Fn() -> Sequential>> =
        vec![Box::new(move || start().rnn(Rnn::hidden(6).layers(3)))];
    models.extend(
        lstms.map(|of| Box::new(move || start().lstm(of.clone())) as Box<dyn Fn() -> Sequential>),
    );
    models.extend(
        grus.map(|of| Box::new(move || start().gru(of.clone())) as Box<dyn Fn() -> Sequential>),
    );
    for model in models {
        for last in [true, false] {
            let model = if last { model().last_step() } else { model() };
            let model = model.linear(2).build(&device, 1).unwrap();
            all.extend_from_slice(model.plan(&SHAPE).unwrap().shaders());
            let budget = Trainer::new(model, Sgd::new(0.1)).build().unwrap();
            let target = match last {
                true => floats(&[SHAPE[1], 2]),
                false => floats(&[SHAPE[0], SHAPE[1], 2]),
            };
            for lengths in [None, Some(LENGTHS.to_vec())] {
                let mut input = Sequence::new(x.clone());
                input.lengths = lengths;
                let batch = Batch::of([input], target.clone());
                all.extend_from_slice(budget.plan(&batch).unwrap().shaders());
            }
        }
    }
    // A memory budget cuts time into segments.
    let model = Sequential::new(3)
        .lstm(Lstm::hidden(8).layers(2))
        .linear(1)
        .build(&device, 1)
        .unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.1)).build().unwrap();
    let batch = Batch::new(
        Array::<f32, _>::zeros((100, 4, 3)),
        Array::<f32, _>::zeros((100, 4, 1)),
    );
    let bytes = trainer.step_memory(&batch).unwrap() * 3 / 5;
    let model = Sequential::new(3)
        .lstm(Lstm::hidden(8).layers(2))
        .linear(1)
        .build(&device, 1)
        .unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.1))
        .memory_budget(bytes)
        .build()
        .unwrap();
    all.extend_from_slice(trainer.plan(&batch).unwrap().shaders());

    // Losses and optimizers.
    let model = || Sequential::new(SHAPE[2]).gru(Gru::hidden(4)).linear(3);
    let target = floats(&[SHAPE[0], SHAPE[1], 3]);
    of_trainer(
        &mut all,
        model(),
        Mse::mean(),
        Sgd::new(0.1),
        target.clone(),
    );
    of_trainer(
        &mut all,
        model(),
        Mse::sum(),
        Sgd::new(0.1).momentum(0.9).weight_decay(0.1),
        target.clone(),
    );
    of_trainer(
        &mut all,
        model(),
        Mse::half_sum(),
        Sgd::new(0.1).momentum(0.9).nesterov(),
        target.clone(),
    );
    of_trainer(
        &mut all,
        model(),
        Mse::mean(),
        Adam::new(0.1).weight_decay(0.1),
        target.clone(),
    );
    of_trainer(
        &mut all,
        model(),
        Mse::mean(),
        AdamW::new(0.1),
        target.clone(),
    );
    let rmsprop = RmsProp {
        momentum: 0.9,
        centered: true,
        ..RmsProp::new(0.1)
    };
    of_trainer(&mut all, model(), Huber(1.0), rmsprop, target);
    let classes = || ArrayD::<u32>::zeros(vec![SHAPE[0], SHAPE[1]]);
    of_trainer(&mut all, model(), CrossEntropy, Adam::new(0.1), classes());
    of_trainer(
        &mut all,
        model().softmax(),
        CrossEntropy,
        Adam::new(0.1),
        classes(),
    );
    // A loss of few elements is one kernel, of many two.
    let model = Sequential::new(1).linear(1).build(&device, 1).unwrap();
    let trainer = Trainer::new(model, Sgd::new(0.1))
        .clip_norm(1.0)
        .build()
        .unwrap();
    let long = Array::<f32, _>::zeros((700, 300, 1));
    all.extend_from_slice(
        trainer
            .plan(&Batch::new(long.clone(), long))
            .unwrap()
            .shaders(),
    );

    // Metrics.
    let metric = |all: &mut Vec<Shader>, metric: Box<dyn Metric>, target: Tensor| {
        let x = Tensor::from_array(&device, &floats(&SHAPE)).unwrap();
        let call = Function::new(&device, move |s, inputs| {
            Ok(vec![metric.elements(s, inputs[0], inputs[1])?])
        });
        all.extend_from_slice(call.plan(&[&x, &target]).unwrap().shaders());
    };
    let classes = Tensor::from_indices(&device, &classes()).unwrap();
    metric(&mut all, Box::new(Accuracy), classes);
    metric(
        &mut all,
        Box::new(Rmse),
        Tensor::from_array(&device, &floats(&SHAPE)).unwrap(),
    );

    // One of each text is enough.
    all.sort_by(|a, b| (&a.name, &a.text).cmp(&(&b.name, &b.text)));
    all.dedup_by(|a, b| a.text == b.text);
    all
}
