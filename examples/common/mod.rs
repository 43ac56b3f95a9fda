//! What the examples share.

use bptt::Device;
use std::io::{ErrorKind, Write};

/// The devices an example can be told to use.
pub const DEVICES: &str = "auto, cpu or gpu";

/// A device by its word on the command line.
pub fn device(word: &str) -> Result<Device, String> {
    match word {
        "auto" => Ok(Device::best()),
        "cpu" => Ok(Device::cpu()),
        "gpu" => Device::gpu().map_err(|reason| format!("--device gpu: {reason}")),
        other => Err(format!("--device: {other:?}, expected {DEVICES}")),
    }
}

/// Prints a line, like `println!`; where nobody reads on (`… | head -1`) the program ends quietly.
macro_rules! say {
    ($($part:tt)*) => { $crate::common::print_line(format_args!($($part)*)) };
}
pub(crate) use say;

pub fn print_line(line: std::fmt::Arguments<'_>) {
    if let Err(reason) = writeln!(std::io::stdout(), "{line}") {
        if reason.kind() == ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        complain(&format!("the output: {reason}"));
        std::process::exit(2);
    }
}

/// One line on stderr, if somebody reads it.
fn complain(reason: &str) {
    writeln!(std::io::stderr(), "error: {}", reason.replace('\n', " ")).ok();
}

/// Ends the program: quietly where all went well, else with one line on stderr and status 2.
pub fn finish(outcome: Result<(), String>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(reason) => {
            complain(&reason);
            std::process::ExitCode::from(2)
        }
    }
}
