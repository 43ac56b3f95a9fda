//! Trains a recurrent network to forecast monthly sunspot numbers, or a column of any CSV file, one step ahead.
//!
//! ```text
//! cargo run --release --example forecast
//! cargo run --release --example forecast -- --cell gru --device gpu --data FILE.csv --column NAME
//! ```
//!
//! The first 80 % of the series are for training, the last 12 % of them for validation; the weights of the epoch with the lowest
//! validation loss are tested on the last 20 % beside two baselines: persistence, and a linear autoregression on the same window
//! fitted to the first 80 % by least squares. Written to `--out`: `forecast.png`, `loss.png`, `model.safetensors`.

use bptt::data::Dataset;
use bptt::nn::{Gru, Lstm, Model, Rnn, Sequential};
use bptt::train::{AdamW, Cosine, Epoch, History, Mse, Trainer};
use common::say;
use indicatif::{ProgressBar, ProgressStyle};
use options::{CellKind, Options};
use series::{Scale, Series};
use std::io::IsTerminal;
use std::time::Instant;
use windows::SeriesWindows;

mod baseline;
#[path = "../common/mod.rs"]
mod common;
mod options;
#[path = "../common/picture.rs"]
mod picture;
mod plot;
mod series;
mod windows;

fn main() -> std::process::ExitCode {
    common::finish(run())
}

fn run() -> Result<(), String> {
    let Some(options) = Options::parse()? else {
        return Ok(());
    };
    let series = Series::read(&options.data, options.column.as_deref())?;
    let split = Split::new(series.values.len(), options.window)?;
    std::fs::create_dir_all(&options.out)
        .map_err(|reason| format!("--out {}: {reason}", options.out.display()))?;
    // Before anything slow: it tells in a moment whether the series can be fitted at all.
    let regression = baseline::autoregression(&series.values, split.test, options.window)?;
    let device = common::device(&options.device)?;
    say!("Device:  {device}\n         ({})", device.reason());
    say!(
        "Data:    {} of {}: {} rows; {} to train, {} to validate, {} to test; window {}",
        series.column,
        options.data.display(),
        series.values.len(),
        split.train,
        split.test - split.train,
        series.values.len() - split.test,
        options.window,
    );
    forecast(&options, &series, split, &regression, &device)
}

/// Where validation and test begin.
#[derive(Clone, Copy)]
struct Split {
    train: usize,
    test: usize,
}

impl Split {
    fn new(rows: usize, window: usize) -> Result<Self, String> {
        let test = rows * 8 / 10;
        let train = test * 88 / 100;
        let needed = window.saturating_mul(2).saturating_add(20);
        if train < needed {
            let rows_needed = needed as f64 * 1000.0 / (88.0 * 8.0) + 2.0;
            return Err(format!(
                "{rows} rows: too few for a window of {window}, at least {rows_needed:.0} are needed"
            ));
        }
        Ok(Self { train, test })
    }
}

fn forecast(
    options: &Options,
    series: &Series,
    split: Split,
    regression: &[f32],
    device: &bptt::Device,
) -> Result<(), String> {
    let text = |reason: bptt::Error| reason.to_string();
    let scale = Scale::fit(&series.values[..split.train]).map_err(text)?;
    let scaled: Vec<f32> = series.values.iter().map(|x| scale.apply(*x)).collect();
    if !scaled.iter().all(|x| x.is_finite()) {
        return Err(format!("{}: too far apart for f32", series.column));
    }
    let window = options.window;
    let train = SeriesWindows::new(&scaled[..split.train], window).amplified(&scale, options.seed);
    // Windows reach back before the first value to be predicted.
    let valid = SeriesWindows::new(&scaled[split.train - window..split.test], window);

    let model = build(options, device).map_err(text)?;
    say!(
        "Model:   {} layer(s) of {} with {} units, {} weights",
        options.layers,
        options.cell,
        options.hidden,
        model.parameters().count()
    );
    let optimizer = AdamW::new(5e-3).weight_decay(0.3);
    let trainer = Trainer::new(model, optimizer).loss(Mse::mean());
    let mut trainer = trainer.clip_norm(1.0).build().map_err(text)?;
    let started = Instant::now();
    let history = train_with_progress(&mut trainer, &train, &valid, options).map_err(text)?;
    let seconds = started.elapsed().as_secs_f64();
    let sequences: usize = history.epochs.iter().map(|epoch| epoch.sequences).sum();
    say!(
        "Trained: {} epochs in {seconds:.1} s, {:.0} sequences/s; best validation loss after epoch {}",
        history.epochs.len(),
        sequences as f64 / seconds,
        history
            .best
            .map_or("none".to_owned(), |best| best.to_string()),
    );

    let model = trainer.into_model();
    let predicted = windows::predict(&model, &scaled, window).map_err(text)?;
    // The residuals of everything before the test: what the transformation back needs to be unbiased.
    let variance = windows::variance(
        &scaled[window..split.test],
        &predicted[..split.test - window],
    );
    let predicted: Vec<f32> = predicted[split.test - window..]
        .iter()
        .map(|x| scale.invert(*x, variance))
        .collect();
    report(series, split, window, &predicted, regression);

    let free = windows::free_run(&model, &scaled, window, options.ahead).map_err(text)?;
    let free: Vec<f32> = free.iter().map(|x| scale.invert(*x, 0.0)).collect();
    plot::forecast(
        &options.out.join("forecast.png"),
        series,
        split.test,
        &predicted,
        &free,
    )?;
    plot::loss(&options.out.join("loss.png"), &history)?;
    model
        .parameters()
        .save(options.out.join("model.safetensors"))
        .map_err(text)?;
    say!(
        "Written: forecast.png, loss.png and model.safetensors in {}",
        options.out.display()
    );
    Ok(())
}

fn build(options: &Options, device: &bptt::Device) -> bptt::Result<Model> {
    let model = Sequential::new(1);
    let model = match options.cell {
        CellKind::Rnn => model.rnn(Rnn::hidden(options.hidden).layers(options.layers)),
        CellKind::Lstm => model.lstm(Lstm::hidden(options.hidden).layers(options.layers)),
        CellKind::Gru => model.gru(Gru::hidden(options.hidden).layers(options.layers)),
    };
    model.last_step().linear(1).build(device, options.seed)
}

fn train_with_progress(
    trainer: &mut Trainer,
    train: &dyn Dataset,
    valid: &dyn Dataset,
    options: &Options,
) -> bptt::Result<History> {
    let bar = ProgressBar::new(options.epochs as u64);
    let style = ProgressStyle::with_template("{bar:30} epoch {pos}/{len}  {msg}  {eta} left");
    bar.set_style(style.expect("the template is valid"));
    let mut started = Instant::now();
    let progress = |epoch: &Epoch| {
        let rate = epoch.sequences as f64 / started.elapsed().as_secs_f64();
        started = Instant::now();
        let message = format!(
            "loss {:.4}  validation {:.4}  {rate:.0} sequences/s",
            epoch.loss,
            epoch.validation.unwrap_or(f64::NAN)
        );
        bar.set_message(message.clone());
        bar.inc(1);
        // Without a terminal there is no bar to see.
        if !std::io::stderr().is_terminal() && (epoch.number.is_multiple_of(5) || epoch.number == 1)
        {
            say!("         epoch {:3}: {message}", epoch.number);
        }
    };
    let fit = trainer.fit(train).validation(valid).callback(progress);
    let fit = fit.epochs(options.epochs).batch_size(64);
    let history = fit.seed(options.seed).schedule(Cosine).run();
    bar.finish_and_clear();
    history
}

fn report(series: &Series, split: Split, window: usize, predicted: &[f32], regression: &[f32]) {
    let truth = &series.values[split.test..];
    let persistence = &series.values[split.test - 1..series.values.len() - 1];
    say!("Test RMSE, one step ahead:");
    say!("  this network          {:8.3}", rmse(predicted, truth));
    say!(
        "  linear autoregression {:8.3}  (window {window}, least squares)",
        rmse(regression, truth)
    );
    say!("  persistence           {:8.3}", rmse(persistence, truth));
}

fn rmse(predicted: &[f32], truth: &[f32]) -> f64 {
    let squares: f64 = predicted
        .iter()
        .zip(truth)
        .map(|(p, t)| (f64::from(*p) - f64::from(*t)).powi(2))
        .sum();
    (squares / truth.len() as f64).sqrt()
}
