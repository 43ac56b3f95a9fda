//! The examples as a user runs them: what they print and write, and how they refuse bad input.

#[path = "common/mod.rs"]
mod common;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
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
fn forecast_trains_reports_and_writes() {
    let out = folder("forecast");
    let mut devices = vec!["cpu"];
    devices.extend(common::gpu().map(|_| "gpu"));
    for device in devices {
        let arguments = [
            "--device",
            device,
            "--epochs",
            "2",
            "--hidden",
            "5",
            "--window",
            "12",
            "--ahead",
            "20",
            "--out",
            text(&out),
        ];
        let printed = stdout(&run("forecast", &arguments));
        for part in [
            "Device: ",
            "this network",
            "linear autoregression",
            "persistence             19.463",
        ] {
            assert!(printed.contains(part), "{part}\nnot in\n{printed}");
        }
        for picture in ["forecast.png", "loss.png"] {
            assert!(
                std::fs::read(out.join(picture))
                    .unwrap()
                    .starts_with(b"\x89PNG"),
                "{picture}"
            );
        }
        let weights = std::fs::read(out.join("model.safetensors")).unwrap();
        let weights = SafeTensors::deserialize(&weights).unwrap();
        assert_eq!(weights.tensor("0.weight_hh_l0").unwrap().shape(), [20, 5]);
        assert_eq!(weights.len(), 6);
    }
}

/// The main job as the README runs it, on the CPU: clearly better than persistence, and no worse than the linear baseline.
#[test]
fn forecast_beats_its_baselines() {
    let printed = stdout(&run(
        "forecast",
        &[
            "--device",
            "cpu",
            "--out",
            text(&folder("forecast-default")),
        ],
    ));
    let rmse = |label: &str| -> f64 {
        let line = printed.lines().find(|line| line.trim().starts_with(label));
        let line = line.unwrap_or_else(|| panic!("{label}\nnot in\n{printed}"));
        line.trim()[label.len()..]
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let (network, linear, persistence) = (
        rmse("this network"),
        rmse("linear autoregression"),
        rmse("persistence"),
    );
    assert!(
        (linear - 17.325).abs() < 0.001 && (persistence - 19.463).abs() < 0.001,
        "{printed}"
    );
    assert!(
        network <= linear && network < 0.9 * persistence,
        "{printed}"
    );
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

#[test]
fn forecast_refuses_bad_input_in_one_line() {
    let folder = folder("forecast-errors");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let bad = write(
        "bad.csv",
        "month,value\n2000-01,1\n2000-02,two\n2000-03,3\n",
    );
    let empty = write("short.csv", "month,value\n2000-01,1\n2000-02,2\n");
    let ragged = write("ragged.csv", "month,value\n2000-01,1\n2000-02\n");
    let nan = write("nan.csv", "value\n1\nNaN\n");
    let constant = write("constant.csv", &format!("value\n{}", "7\n".repeat(100)));
    let out = folder.join("out");
    for (arguments, part) in [
        (vec!["--data", "/no/such.csv"], "/no/such.csv"),
        (
            vec!["--data", text(&bad), "--column", "sunspots"],
            "no column \"sunspots\", only month, value",
        ),
        (
            vec!["--data", text(&bad)],
            "line 3: value is \"two\", expected a number",
        ),
        (vec!["--data", text(&nan)], "line 3: value is \"NaN\""),
        (vec!["--data", text(&ragged)], "ragged.csv"),
        (
            vec!["--data", text(&empty)],
            "2 rows: too few for a window of 48",
        ),
        (
            vec!["--data", text(&constant), "--window", "5"],
            "the autoregression has no unique fit",
        ),
        (
            vec!["--window", "18446744073709551615"],
            "3126 rows: too few",
        ),
        (
            vec!["--cell", "elman"],
            "--cell: \"elman\", expected rnn, lstm or gru",
        ),
        (
            vec!["--hidden", "0"],
            "--hidden: \"0\", expected a whole number, at least 1",
        ),
        (vec!["--epochs", "many"], "--epochs: \"many\""),
        (
            vec!["--device", "tpu"],
            "\"tpu\", expected auto, cpu or gpu",
        ),
        (vec!["--no-such-option"], "--no-such-option: no such option"),
    ] {
        let arguments: Vec<&str> = arguments
            .iter()
            .copied()
            .chain(["--out", text(&out)])
            .collect();
        let line = refusal(&run("forecast", &arguments));
        assert!(line.contains(part), "{part}\nnot in\n{line}");
    }
}

const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/recurrent/lstm_small.case.safetensors"
);

#[test]
fn replay_writes_every_result_in_the_devices_precision() {
    let folder = folder("replay");
    let out = folder.join("out.safetensors");
    let mut devices = vec![("cpu64", Dtype::F64), ("cpu", Dtype::F32)];
    devices.extend(common::gpu().map(|_| ("gpu", Dtype::F32)));
    for (device, dtype) in devices {
        assert_eq!(
            stdout(&run("replay", &[GOLDEN, text(&out), "--device", device])),
            ""
        );
        let bytes = std::fs::read(&out).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = file.names();
        names.sort_unstable();
        let expected = [
            "cn",
            "d.bias_hh_l0",
            "d.bias_ih_l0",
            "d.weight_hh_l0",
            "d.weight_ih_l0",
            "dc0",
            "dh0",
            "dx",
            "hn",
            "y",
        ];
        assert_eq!(names, expected);
        assert!(
            file.tensors()
                .iter()
                .all(|(_, tensor)| tensor.dtype() == dtype),
            "{device}"
        );
    }
}

/// The golden case with other metadata, and with one tensor put in or, where it has no values, taken out.
fn variant(path: &Path, json: &str, name: &str, tensor: Option<(Dtype, Vec<usize>)>) {
    let bytes = std::fs::read(GOLDEN).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file
        .tensors()
        .into_iter()
        .filter(|(known, _)| known != name)
        .collect();
    let zeros = vec![0; 1024];
    if let Some((dtype, shape)) = tensor {
        let size = shape.iter().product::<usize>()
            * if matches!(dtype, Dtype::I64 | Dtype::F64) {
                8
            } else {
                4
            };
        tensors.push((
            name.to_owned(),
            TensorView::new(dtype, shape, &zeros[..size]).unwrap(),
        ));
    }
    let metadata = HashMap::from([("bptt".to_owned(), json.to_owned())]);
    std::fs::write(
        path,
        safetensors::serialize(tensors, Some(metadata)).unwrap(),
    )
    .unwrap();
}

#[test]
fn replay_refuses_by_name_and_writes_nothing() {
    let folder = folder("replay-errors");
    let (case, out) = (
        folder.join("case.safetensors"),
        folder.join("out.safetensors"),
    );
    let good = r#""cell": "lstm", "input_size": 3, "hidden_size": 5"#;
    let metadata = |more: &str| format!("{{{good}{more}}}");
    let cases = [
        (
            metadata(r#", "depth": 2"#),
            "",
            None,
            "depth: present, expected absent: no such key",
        ),
        (
            metadata(r#", "proj_size": 2"#),
            "",
            None,
            "proj_size: 2, expected 0: anything else is not supported yet",
        ),
        (
            metadata(r#", "reset_after": false"#),
            "",
            None,
            "reset_after: false",
        ),
        (
            metadata(r#", "num_layers": 0"#),
            "",
            None,
            "num_layers: 0, expected a whole number, 1 to 4294967295",
        ),
        (
            metadata(r#", "bias": "yes""#),
            "",
            None,
            "bias: \"yes\", expected true or false",
        ),
        (
            metadata(""),
            "lengths",
            Some((Dtype::I64, vec![3])),
            "lengths: shape [3], expected [2]",
        ),
        (metadata(""), "x", None, "x: missing"),
        (
            metadata(""),
            "weight_hh_l0",
            None,
            "weight_hh_l0: missing, expected a tensor of shape [20, 5]",
        ),
        (
            metadata(""),
            "weight_hr_l0",
            Some((Dtype::F32, vec![2, 5])),
            "weight_hr_l0: present",
        ),
        (
            metadata(""),
            "x",
            Some((Dtype::F32, vec![4, 2, 2])),
            "x: shape [4, 2, 2], expected [T, B, 3]",
        ),
        (
            metadata(""),
            "x",
            Some((Dtype::F32, vec![4, 3])),
            "x: shape [4, 3]",
        ),
        (
            metadata(""),
            "h0",
            Some((Dtype::F32, vec![2, 2, 5])),
            "h0: shape [2, 2, 5], expected [1, 2, 5]",
        ),
        (
            metadata(""),
            "dy",
            Some((Dtype::F32, vec![4, 2, 3])),
            "dy: shape [4, 2, 3], expected [4, 2, 5]",
        ),
        (
            metadata(""),
            "x",
            Some((Dtype::I32, vec![4])),
            "tensor x is I32, expected F32 or F64",
        ),
        (
            r#"{"cell": "lstm", "input_size": 3}"#.into(),
            "",
            None,
            "hidden_size: missing",
        ),
        (
            r#"{"cell": "sru", "input_size": 3, "hidden_size": 5}"#.into(),
            "",
            None,
            "cell: sru, expected one of",
        ),
        (
            r#"{"input_size": 3, "hidden_size": 5}"#.into(),
            "",
            None,
            "cell: missing",
        ),
        ("no json".into(), "", None, "metadata bptt"),
        (
            "[1]".into(),
            "",
            None,
            "metadata bptt: [1], expected a JSON object",
        ),
    ];
    for (json, name, tensor, part) in cases {
        variant(&case, &json, name, tensor);
        let line = refusal(&run(
            "replay",
            &[text(&case), text(&out), "--device", "cpu"],
        ));
        assert!(line.contains(part), "{part}\nnot in\n{line}");
        assert!(!out.exists(), "{line}");
    }
    variant(&case, &metadata(""), "", None);
    for (arguments, part) in [
        (vec![text(&case), text(&out)], "--device is missing"),
        (vec![text(&case), "--device", "cpu"], "1 files, expected 2"),
        (
            vec![text(&case), text(&out), "--device", "tpu"],
            "--device \"tpu\"",
        ),
        (vec!["/no/such", text(&out), "--device", "cpu"], "/no/such"),
        (
            vec![text(&case), "/no/such/out", "--device", "cpu"],
            "/no/such/out",
        ),
    ] {
        let line = refusal(&run("replay", &arguments));
        assert!(line.contains(part), "{part}\nnot in\n{line}");
        assert!(!out.exists());
    }
}
