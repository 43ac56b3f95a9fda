//! Lists the GPU adapters of this machine and says what `Device::best` takes. Exit status 1 where there is none.
//!
//! ```text
//! cargo run --release --example adapters
//! ```

use bptt::Device;
use common::say;

#[allow(dead_code, reason = "each example uses its part")]
mod common;

fn main() -> std::process::ExitCode {
    let adapters = Device::adapters();
    for adapter in &adapters {
        say!("{adapter}");
    }
    let best = Device::best();
    say!("best: {best} ({})", best.reason());
    std::process::ExitCode::from(u8::from(adapters.is_empty()))
}
