//! `examples/replay.rs`.

use crate::common;
use crate::{folder, refusal, run, stdout, text};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

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
            metadata(r#", "proj_size": 5"#),
            "",
            None,
            "proj_size: 5, expected 1 to below the hidden size, 5",
        ),
        (
            metadata(r#", "clip": -1"#),
            "",
            None,
            "clip: -1, expected a finite number above 0",
        ),
        (
            metadata(r#", "activations": ["tanh"]"#),
            "",
            None,
            "activations: [\"tanh\"], expected a list of 5 for this cell",
        ),
        (
            metadata(r#", "zoneout": [0.5, 1]"#),
            "",
            None,
            "zoneout of c: 1, expected 0 to below 1",
        ),
        (
            metadata(r#", "reset_after": false"#),
            "",
            None,
            "reset_after: false, expected absent or true for this cell",
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
            "bias: \"yes\", expected true, false or \"one\"",
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
