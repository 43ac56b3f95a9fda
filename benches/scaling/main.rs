//! Time against T, B, H and the number of layers: `cargo bench --bench scaling [-- --device cpu|gpu] [--only T|B|H|L] [--out FOLDER]`.
//!
//! An LSTM of I 64, H 128, T 64, B 16 and one layer, of which one size changes at a time; f32; `infer` and `train` as in the workloads bench, the shortest of
//! three rounds, each of at least 5 runs and 0.3 s. Writes `scaling_DEVICE.csv` (threads, size that changes, its value, phase, milliseconds, local slope: that of ln time over ln size
//! between the neighbours) and `scaling_DEVICE.png`, to `target/scaling` by default. `--only` measures one size anew and keeps what the file has of the others.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../examples/common/picture.rs"]
mod picture;
mod plot;

use bptt::Device;
use bptt::data::Batch;
use bptt::nn::{Lstm, Sequential};
use bptt::train::{Adam, Trainer};
use common::{numbers, policy};
use std::path::{Path, PathBuf};

const INPUTS: usize = 64;
const ROUNDS: usize = 3;
const PHASES: [&str; 2] = ["infer", "train"];

/// What changes: its letter, its name, and its values.
const SIZES: [(&str, &str, &[usize]); 4] = [
    ("T", "steps T", &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512]),
    ("B", "batch B", &[1, 2, 4, 8, 16, 32, 64, 128, 256]),
    ("H", "hidden H", &[8, 16, 32, 64, 128, 256, 512, 1024]),
    ("L", "layers L", &[1, 2, 3, 4, 6, 8]),
];

/// One measurement.
#[derive(Clone, Debug)]
pub struct Point {
    /// T, B, H or L.
    pub size: String,
    /// Its value.
    pub value: usize,
    /// infer or train.
    pub phase: String,
    /// The shortest run of all rounds.
    pub milliseconds: f64,
}

/// The milliseconds of a forward pass and of a training step.
fn time(device: &Device, size: &str, value: usize) -> [f64; 2] {
    let of = |letter: &str, otherwise: usize| if size == letter { value } else { otherwise };
    let (steps, batch) = (of("T", 64), of("B", 16));
    let (hidden, layers) = (of("H", 128), of("L", 1));
    let config = Lstm::hidden(hidden).layers(layers);
    let network = || {
        let network = Sequential::new(INPUTS).lstm(config.clone());
        network.build(device, 1).expect("the sizes are positive")
    };
    let x = numbers(device, [steps, batch, INPUTS]);
    let drain = || device.wait().expect("the device works");
    let own = network();
    let infer = common::shortest(|| {
        own.forward(&x).expect("the shapes fit");
        drain();
    });
    let trainer = Trainer::new(network(), Adam::new(1e-3)).build();
    let mut trainer = trainer.expect("the numbers are in range");
    let data = Batch::new(x.clone(), numbers(device, [steps, batch, hidden]));
    let train = common::shortest(|| {
        trainer.step(&data).expect("the shapes fit");
        drain();
    });
    [infer * 1e3, train * 1e3]
}

/// The line of one size and phase, in the order of values.
pub fn line<'a>(points: &'a [Point], size: &str, phase: &str) -> Vec<&'a Point> {
    let wanted = |point: &&Point| point.size == size && point.phase == phase;
    let mut line: Vec<_> = points.iter().filter(wanted).collect();
    line.sort_by_key(|point| point.value);
    line
}

/// d ln time / d ln size at each point of a line: between its neighbours, at the ends to the only one.
pub fn slopes(line: &[&Point]) -> Vec<f64> {
    let slope = |index: usize| {
        let (before, after) = (index.saturating_sub(1), (index + 1).min(line.len() - 1));
        let (before, after) = (line[before], line[after]);
        let time = (after.milliseconds / before.milliseconds).ln();
        time / (after.value as f64 / before.value as f64).ln()
    };
    (0..line.len()).map(slope).collect()
}

fn read(path: &Path) -> Vec<Point> {
    let Ok(mut reader) = csv::Reader::from_path(path) else {
        return vec![];
    };
    let point = |row: csv::StringRecord| {
        Some(Point {
            size: row.get(1)?.to_owned(),
            value: row.get(2)?.parse().ok()?,
            phase: row.get(3)?.to_owned(),
            milliseconds: row.get(4)?.parse().ok()?,
        })
    };
    reader.records().flatten().filter_map(point).collect()
}

fn write(path: &Path, points: &[Point]) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(["threads", "size", "value", "phase", "ms", "slope"])?;
    let threads = policy::threads().to_string();
    for (size, ..) in SIZES {
        for phase in PHASES {
            let line = line(points, size, phase);
            for (point, slope) in line.iter().zip(slopes(&line)) {
                let value = point.value.to_string();
                let time = format!("{:.4}", point.milliseconds);
                let slope = format!("{slope:.2}");
                writer.write_record([&threads, size, &value, phase, &time, &slope])?;
            }
        }
    }
    let data = writer.into_inner().map_err(|fault| fault.into_error())?;
    Ok(picture::files::replace(path, &data)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut label, mut only) = ("cpu".to_owned(), None);
    let mut out = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/scaling");
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{word}: no value"))?;
        match word.as_str() {
            "--device" => label = value,
            "--only" => only = Some(value),
            "--out" => out = value.into(),
            _ => return Err(format!("{word}: expected --device, --only or --out").into()),
        }
    }
    let device = match label.as_str() {
        "cpu" => Device::cpu(),
        "gpu" => Device::gpu()?,
        other => return Err(format!("--device: {other}, expected cpu or gpu").into()),
    };
    std::fs::create_dir_all(&out)?;
    let csv = out.join(format!("scaling_{label}.csv"));
    let mut points = read(&csv);
    let wanted = |size: &str| only.as_deref().is_none_or(|only| only == size);
    points.retain(|point| !wanted(&point.size));
    for (size, _, values) in SIZES.into_iter().filter(|(size, ..)| wanted(size)) {
        // In rounds, so that what disturbs the machine for a while does not hit all runs of a value.
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| values.iter().map(|value| time(&device, size, *value)))
            .map(Iterator::collect::<Vec<_>>)
            .collect();
        for (index, value) in values.iter().enumerate() {
            for (phase, name) in PHASES.into_iter().enumerate() {
                let times = rounds.iter().map(|round| round[index][phase]);
                let milliseconds = times.fold(f64::INFINITY, f64::min);
                println!("{size} {value} {name}: {milliseconds:.4} ms");
                points.push(Point {
                    size: size.to_owned(),
                    value: *value,
                    phase: name.to_owned(),
                    milliseconds,
                });
            }
        }
        // After each, so that what is measured is not lost.
        write(&csv, &points)?;
    }
    let png = out.join(format!("scaling_{label}.png"));
    plot::draw(&png, &SIZES.map(|(size, name, _)| (size, name)), &points)?;
    println!("{}\n{}", csv.display(), png.display());
    Ok(())
}
