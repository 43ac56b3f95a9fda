//! `examples/forecast`.

use crate::common;
use crate::{folder, refusal, run, stdout, text};
use safetensors::SafeTensors;
use std::process::Stdio;

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

/// Each ends within a minute, with pictures or with one line.
#[test]
fn forecasts_of_extreme_values_and_times_end() {
    let folder = folder("forecast-extremes");
    let rows = |row: fn(usize) -> String| -> String { (0..200).map(row).collect() };
    let series = [
        (
            "alternating",
            rows(|i| format!("{}3.4e38\n", if i * i % 7 < 3 { "-" } else { "" })),
        ),
        ("near", rows(|i| format!("3.4028{}e38\n", 10 + i * i % 23))),
        (
            "negative",
            rows(|i| format!("-3.40{}e38\n", 10 + i * i % 23)),
        ),
        ("tiny", rows(|i| format!("{}e-45\n", i * i % 23))),
        (
            "one",
            rows(|i| {
                format!(
                    "{}\n",
                    if i == 77 {
                        3.4e38
                    } else {
                        1e-38 * (i * i % 5) as f64
                    }
                )
            }),
        ),
    ];
    let mut files: Vec<_> = series
        .into_iter()
        .map(|(name, values)| (name.to_owned(), format!("value\n{values}")))
        .collect();
    for month in [
        "nan-1", "inf-2", "1e308-3", "-1-4", "2000-nan", "2000-01", "0-1",
    ] {
        let values = rows(|i| format!("MONTH,{}\n", i * i % 23)).replace("MONTH", month);
        files.push((month.to_owned(), format!("month,value\n{values}")));
    }
    for (name, text_of) in files {
        let file = folder.join(format!("{name}.csv"));
        std::fs::write(&file, text_of).unwrap();
        let arguments = [
            "--epochs", "2", "--hidden", "2", "--window", "5", "--ahead", "9",
        ];
        let mut command = crate::example("forecast");
        command.args(arguments).args([
            "--device",
            "cpu",
            "--data",
            text(&file),
            "--out",
            text(&folder),
        ]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed().as_secs() > 60 {
                child.kill().unwrap();
                panic!("{name} does not end");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert!(matches!(status.code(), Some(0 | 2)), "{name}: {status}");
    }
}
