//! The examples as a user runs them: what they print and write, and how they refuse bad input.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod forecast;
mod replay;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn example(name: &str) -> Command {
    // target/PROFILE/deps/this-test → target/PROFILE/examples/name; `cargo test` builds the examples first.
    let deps = std::env::current_exe().unwrap();
    let folder = deps
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples");
    Command::new(
        folder
            .join(name)
            .with_extension(std::env::consts::EXE_EXTENSION),
    )
}

fn run(name: &str, arguments: &[&str]) -> Output {
    example(name)
        .args(arguments)
        .output()
        .unwrap_or_else(|reason| panic!("{name}: {reason}"))
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// One line on stderr and status 2; gives the line.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("examples")
        .join(name);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn tutorial_prints_the_notebooks_numbers() {
    let printed = stdout(&run("tutorial", &["--device", "cpu"]));
    for line in [
        "final hidden state:  0.95516432 -0.99182894 -0.03554066 -0.99213409 -0.12484929",
        "output at t = 3:  1.95410691 -1.22828410",
        "epoch   0: 5.5586",
        "epoch  80: 0.1156",
        "epoch 200: 0.0142",
        "after the last update: 0.01239",
        "h:  0.10300916  0.03630028 -0.49784764 -0.19816366 -0.08696417",
        "C:  0.77549715  0.06708220 -0.65920812 -0.39389873 -0.67070856",
    ] {
        assert!(printed.contains(line), "{line}\nnot in\n{printed}");
    }
    if common::gpu().is_some() {
        let printed = stdout(&run("tutorial", &["--device", "gpu"]));
        for line in ["GPU: ", "epoch  60: 0.2433", "output at t = 0:  2.7087"] {
            assert!(printed.contains(line), "{line}\nnot in\n{printed}");
        }
    }
    assert!(
        refusal(&run("tutorial", &["--device", "tpu"]))
            .contains("\"tpu\", expected auto, cpu or gpu")
    );
}

#[test]
fn custom_cell_is_checked_and_learns() {
    let printed = stdout(&run("custom_cell", &["--device", "cpu"]));
    assert!(
        printed.contains("mgu: derivatives agree with finite differences to"),
        "{printed}"
    );
    assert!(
        printed.contains("mgu: CPU (f32) agrees with f64"),
        "{printed}"
    );
    if common::gpu().is_some() {
        assert!(printed.contains("mgu: GPU: "), "{printed}");
    } else {
        assert!(
            printed.contains("the WGSL half is not checked: "),
            "{printed}"
        );
    }
    for cell in [" mgu, 2337 weights", " gru, 3489 weights"] {
        let line = printed.lines().find(|line| line.contains(cell)).unwrap();
        let last: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        // Without any memory of the numbers the error is 2/3, their sum's variance.
        assert!(last < 0.05, "{line}");
    }
    assert!(refusal(&run("custom_cell", &["--device", "tpu"])).contains("\"tpu\""));
}

#[test]
fn roofline_predicts_every_kernel_without_an_adapter() {
    let printed = stdout(&run("roofline", &["W1", "lstm"]));
    for line in [
        "NVIDIA H100 SXM: 67.00 TFLOP/s, 3350 GB/s, a dispatch 2.5 µs (",
        "W1 lstm, I/H/T/B [3, 5, 4, 1], on Apple M3 (10 cores):",
        "dispatch latency",
        "  0  gemm ",
        "recurrent_backward",
        "| W1 lstm | ",
    ] {
        assert!(printed.contains(line), "{line}\nnot in\n{printed}");
    }
    let csv = stdout(&run("roofline", &["--csv", "--gpu", "h100", "W3"]));
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| lines[0].iter().position(|own| *own == name).unwrap();
    let number = |line: &[&str], name: &str| line[column(name)].parse::<f64>().unwrap();
    for line in &lines[1..] {
        assert_eq!(line.len(), lines[0].len(), "{line:?}");
        assert!(
            number(line, "predicted_ms") > number(line, "bound_ms"),
            "{line:?}"
        );
    }
    // The input product [T·B, I] · [I, G·H] + bias of the LSTM: 2 · 4096 · 64 · 512 + 4096 · 512.
    assert_eq!(number(&lines[1], "gflop"), 0.270533);
    let known = refusal(&run("roofline", &["--gpu", "tpu"]));
    assert!(known.contains("--gpu: \"tpu\", expected a part of one of [\"Intel Iris Xe"));
    assert!(refusal(&run("roofline", &["W99"])).contains("\"W99\", expected one of [\"W1 rnn\""));
}

#[test]
fn an_adapter_is_chosen_by_the_environment() {
    let Some(gpu) = common::gpu() else { return };
    let name = &gpu.adapter().unwrap().name;
    let best = |wanted: &str| {
        let output = example("adapters")
            .env("BPTT_ADAPTER", wanted)
            .output()
            .unwrap();
        stdout(&output).lines().last().unwrap().to_owned()
    };
    assert!(
        best(name).starts_with(&format!("best: GPU: {name}")),
        "{}",
        best(name)
    );
    let unknown = best("no such adapter");
    assert!(
        unknown.starts_with("best: CPU (f32) (no GPU adapter: asked for an adapter named"),
        "{unknown}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_that_the_host_has_no_memory_for_is_an_error() {
    let path = example("forecast").get_program().to_owned();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -v 4000000; exec \"$@\"", "sh"])
        .arg(path);
    limited.args(["--device", "cpu", "--hidden", "20000", "--out"]);
    let line = refusal(&limited.arg(folder("no-memory")).output().unwrap());
    assert!(
        line.starts_with("error: out of memory: the weights ["),
        "{line}"
    );
}
