//! Runs one recurrent stack from a file, forward and backward, and writes every result, to be compared with another framework's.
//!
//! ```text
//! cargo run --release --example replay -- CASE.safetensors OUT.safetensors --device gpu|cpu|cpu64
//! ```
//!
//! The formats are described in the documentation of `bptt::replay`. Exit status 0 when OUT was written; otherwise 2 and one line that
//! says what is wrong: an OUT that was there stays as it was. An OUT that is a case itself is not overwritten. `cpu64` computes in f64 and
//! writes F64 tensors.

use bptt::{Device, Real, replay};
use common::say;
use std::path::{Path, PathBuf};

mod common;

const USAGE: &str = "replay CASE.safetensors OUT.safetensors --device gpu|cpu|cpu64";

fn main() -> std::process::ExitCode {
    common::finish(run())
}

fn run() -> Result<(), String> {
    let (mut files, mut device) = (Vec::<PathBuf>::new(), None);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next().map_err(usage)? {
        match argument {
            lexopt::Arg::Long("device") => {
                device = Some(
                    arguments
                        .value()
                        .map_err(usage)?
                        .to_string_lossy()
                        .into_owned(),
                );
            }
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                say!("{USAGE}");
                return Ok(());
            }
            lexopt::Arg::Value(file) => files.push(file.into()),
            other => return Err(usage(other.unexpected())),
        }
    }
    let [case, out] = &files[..] else {
        return Err(usage(format!("{} files, expected 2", files.len())));
    };
    // Such as the two files in the wrong order. What is no file, such as a pipe, is not read.
    if out.is_file() && replay::Case::read(out).is_ok() {
        return Err(usage(format!("{}: OUT is a case", out.display())));
    }
    // The case first: what is wrong with it is known before a GPU is opened.
    let read = || replay::Case::read(case).map_err(|reason| named(case, reason));
    match device.as_deref() {
        Some("cpu64") => write::<f64>(case, &read()?, out, &Device::cpu_f64()),
        Some(word @ ("cpu" | "gpu")) => {
            let read = read()?;
            write::<f32>(case, &read, out, &common::device(word)?)
        }
        Some(other) => Err(usage(format!(
            "--device {other:?}, expected gpu, cpu or cpu64"
        ))),
        None => Err(usage("--device is missing, expected gpu, cpu or cpu64")),
    }
}

fn usage(reason: impl ToString) -> String {
    format!("{} (usage: {USAGE})", reason.to_string())
}

fn named(case: &Path, reason: bptt::Error) -> String {
    match reason {
        bptt::Error::File { .. } => reason.to_string(),
        other => format!("{}: {other}", case.display()),
    }
}

fn write<F: Real>(
    name: &Path,
    case: &replay::Case,
    out: &Path,
    device: &Device,
) -> Result<(), String> {
    let results = case
        .run::<F>(device)
        .map_err(|reason| named(name, reason))?;
    replay::write(out, &results).map_err(|reason| reason.to_string())
}
