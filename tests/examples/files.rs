//! What the examples do to files: those that are a user's, caches that are damaged, outputs that nobody reads.

use crate::{common, example, folder, refusal, run, stdout, text};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

const GOLDEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/golden/recurrent/lstm_small.case.safetensors"
);

#[test]
fn replay_touches_nothing_unless_it_has_results() {
    let folder = folder("replay-touches");
    let at = |name: &str| folder.join(name);
    let (case, out) = (at("case.safetensors"), at("out.safetensors"));
    std::fs::copy(GOLDEN, &case).unwrap();
    stdout(&run(
        "replay",
        &[text(&case), text(&out), "--device", "cpu"],
    ));
    let [before, results] = [&case, &out].map(|path| std::fs::read(path).unwrap());
    let bad = at("bad.safetensors");
    std::fs::write(&bad, "no case").unwrap();
    for arguments in [
        // The files in the wrong order, one file twice, and typing errors of each kind.
        vec![text(&out), text(&case), "--device", "cpu"],
        vec![text(&case), text(&case), "--device", "cpu"],
        vec![text(&case), text(&out), "--device", "tpu"],
        vec![text(&case), text(&out)],
        vec![text(&case), text(&out), "--divice", "cpu"],
        vec![text(&bad), text(&out), "--device", "cpu"],
        vec!["/no/such", text(&out), "--device", "cpu"],
        vec![text(&case), text(&out), text(&bad), "--device", "cpu"],
    ] {
        refusal(&run("replay", &arguments));
        assert_eq!(std::fs::read(&case).unwrap(), before, "{arguments:?}");
        assert_eq!(std::fs::read(&out).unwrap(), results, "{arguments:?}");
        assert_eq!(std::fs::read(&bad).unwrap(), b"no case", "{arguments:?}");
    }
}

#[test]
fn many_processes_write_one_file_whole() {
    let out = folder("replay-together").join("out.safetensors");
    let arguments = [GOLDEN, text(&out), "--device", "cpu"];
    stdout(&run("replay", &arguments));
    let whole = std::fs::read(&out).unwrap();
    let start = || example("replay").args(arguments).spawn().unwrap();
    let mut running: Vec<_> = (0..16).map(|_| start()).collect();
    while running
        .iter_mut()
        .any(|child| child.try_wait().unwrap().is_none())
    {
        assert!(std::fs::read(&out).unwrap() == whole);
    }
    assert!(
        running
            .iter_mut()
            .all(|child| child.wait().unwrap().success())
    );
    let entries = std::fs::read_dir(out.parent().unwrap()).unwrap();
    assert_eq!(entries.count(), 1, "no drafts are left");
}

#[cfg(target_os = "linux")]
#[test]
fn replay_writes_to_the_standard_output_where_it_is_told_to() {
    let folder = folder("replay-stdout");
    let out = folder.join("out.safetensors");
    stdout(&run("replay", &[GOLDEN, text(&out), "--device", "cpu"]));
    let results = std::fs::read(&out).unwrap();
    // As `/dev/stdout` is one; a fault here must not cost the machine that.
    let link = folder.join("stdout");
    std::os::unix::fs::symlink("/proc/self/fd/1", &link).unwrap();
    let to_stdout = [GOLDEN, text(&link), "--device", "cpu"];
    let piped = run("replay", &to_stdout);
    assert!(piped.status.success());
    assert!(piped.stdout == results);
    // To a file that has something in it already.
    let file = folder.join("appended");
    std::fs::write(&file, "before").unwrap();
    let appended = std::fs::File::options().append(true).open(&file).unwrap();
    let status = example("replay").args(to_stdout).stdout(appended).status();
    assert!(status.unwrap().success());
    assert!(std::fs::read(&file).unwrap() == [b"before", &results[..]].concat());
}

/// Like `… | head -1`.
#[test]
fn a_closed_output_ends_an_example_quietly() {
    let quick = [
        "--device", "cpu", "--epochs", "1", "--hidden", "2", "--window", "5", "--ahead", "2",
    ];
    let out = folder("closed");
    let forecast = [&quick[..], &["--out", text(&out)]].concat();
    for (name, arguments) in [
        ("adapters", vec![]),
        ("tutorial", vec!["--device", "cpu"]),
        ("roofline", vec!["W1"]),
        ("roofline", vec!["--csv", "W1"]),
        ("forecast", forecast),
        ("forecast", vec!["--help"]),
        ("replay", vec!["--help"]),
    ] {
        let mut command = example(name);
        command
            .args(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .env_remove("XDG_RUNTIME_DIR")
            .env("BPTT_ADAPTER", "none");
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let mut complaints = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut complaints)
            .unwrap();
        let status = child.wait().unwrap();
        assert!(!complaints.contains("panicked"), "{name}: {complaints}");
        // `adapters` says by 1 that there is none.
        assert!(
            matches!(status.code(), Some(0 | 1)),
            "{name}: {status}, {complaints}"
        );
    }
}

/// The pipelines that the driver compiled are kept in the user's cache directory.
#[test]
fn damaged_caches_are_left_out_and_replaced() {
    if common::gpu().is_none() {
        return;
    }
    let folder = folder("caches");
    let (cache, out) = (folder.join("bptt"), folder.join("out.safetensors"));
    let replay = || {
        let mut command = example("replay");
        command.args([GOLDEN, text(&out), "--device", "gpu"]);
        command
            .env("XDG_CACHE_HOME", &folder)
            .env_remove("BPTT_TUNE");
        stdout(&command.output().unwrap());
        std::fs::read(&out).unwrap()
    };
    let results = replay();
    let files: Vec<_> = std::fs::read_dir(&cache).into_iter().flatten().collect();
    let kept = |path: &Path| std::fs::read(path).unwrap();
    for file in files.into_iter().map(|entry| entry.unwrap().path()) {
        let good = kept(&file);
        let last = good.len() - 1;
        let flipped = |place: usize| {
            let mut bytes = good.clone();
            bytes[place] ^= 0x40;
            bytes
        };
        let sealed = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let damaged = [
            flipped(0),
            flipped(good.len() / 2),
            flipped(last),
            // In the head of wgpu's data, where one wrong byte once ended every start.
            flipped((sealed + 16).min(last)),
            flipped((sealed + 23).min(last)),
            flipped((sealed + 31).min(last)),
            good[..last].to_vec(),
            good[..10].to_vec(),
            vec![],
            vec![0xff; 1000],
            // What a version before this one wrote: wgpu's data without a seal.
            good[sealed..].to_vec(),
        ];
        for (index, bytes) in damaged.iter().enumerate() {
            std::fs::write(&file, bytes).unwrap();
            assert!(replay() == results, "{} {index}", file.display());
            // The driver's data may differ from run to run: what is there is not what was damaged, and is taken.
            assert!(kept(&file) != *bytes, "{} {index}", file.display());
            assert!(
                kept(&file).starts_with(&good[..10]),
                "{} {index}",
                file.display()
            );
        }
        // What is no file is neither waited for nor replaced.
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(replay() == results);
        assert!(file.is_dir());
    }
}
