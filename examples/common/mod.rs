//! What the examples share.

use bptt::Device;

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

/// Ends the program: quietly where all went well, else with one line on stderr and status 2.
pub fn finish(outcome: Result<(), String>) -> std::process::ExitCode {
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {}", reason.replace('\n', " "));
            std::process::ExitCode::from(2)
        }
    }
}
