//! Chrome's trace format.

use super::Profile;
use serde_json::{Value, json};

/// Complete events ("ph": "X"), times in microseconds.
pub(super) fn chrome(profile: &Profile) -> String {
    let process = json!({
        "name": "process_name", "ph": "M", "pid": 1, "args": {"name": profile.device},
    });
    let events = profile.times.iter().map(|time| {
        let kernel = &time.kernel;
        json!({
            "name": kernel.kernel, "cat": kernel.name, "ph": "X", "pid": 1, "tid": 1,
            "ts": time.start as f64 / 1e3,
            "dur": time.duration as f64 / 1e3,
            "args": {
                "operation": kernel.operation,
                "dispatches": kernel.dispatches,
                "workgroups": kernel.workgroups,
                "flops": kernel.flops,
                "bytes": kernel.bytes,
            },
        })
    });
    let events: Vec<Value> = std::iter::once(process).chain(events).collect();
    let trace = json!({"displayTimeUnit": "ns", "traceEvents": events});
    format!("{trace:#}\n")
}
