//! Chrome's trace format.

use super::Profile;
use std::fmt::Write;

/// Complete events ("ph": "X"), times in microseconds.
pub(super) fn chrome(profile: &Profile) -> String {
    let events = profile.times.iter().map(|time| {
        let kernel = &time.kernel;
        format!(
            "{{\"name\":{},\"cat\":{},\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{:.3},\"dur\":{:.3},\"args\":{{\"operation\":{},\
             \"dispatches\":{},\"workgroups\":{},\"flops\":{},\"bytes\":{}}}}}",
            string(&kernel.kernel),
            string(kernel.name),
            time.start as f64 / 1e3,
            time.duration as f64 / 1e3,
            kernel.operation,
            kernel.dispatches,
            kernel.workgroups,
            kernel.flops,
            kernel.bytes,
        )
    });
    let process = format!(
        "{{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":1,\"args\":{{\"name\":{}}}}}",
        string(&profile.device)
    );
    let events: Vec<String> = std::iter::once(process).chain(events).collect();
    format!(
        "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n{}\n]}}\n",
        events.join(",\n")
    )
}

/// A JSON string. A cell of a user's may have any name.
fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control < ' ' => {
                write!(quoted, "\\u{:04x}", control as u32).expect("a string takes all");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
