//! Files that appear whole or not at all, and what is a user's survives.
#![cfg(unix)]

#[path = "../src/files.rs"]
mod files;

use files::replace;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("below")).unwrap();
    fs::write(at("below/file"), "old").unwrap();
    symlink("below/file", at("link")).unwrap();
    symlink(at("link"), at("second")).unwrap();
    symlink("below/new", at("dangling")).unwrap();
    symlink("round", at("round")).unwrap();
    replace(&at("second"), b"one").unwrap();
    assert_eq!(read(at("below/file")), "one");
    replace(&at("dangling"), b"two").unwrap();
    assert_eq!(read(at("below/new")), "two");
    for link in ["link", "second", "dangling"] {
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
    }
    assert!(replace(&at("round"), b"three").is_err());
    assert!(replace(folder.path(), b"four").is_err(), "a folder");
    assert!(replace(&at("nowhere/file"), b"five").is_err());
}

#[test]
fn mode_owner_and_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let [path, part] = ["x", "x.part"].map(|name| folder.path().join(name));
    fs::write(&part, "the user's").unwrap();
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    // Only root may give a file away.
    let away = std::os::unix::fs::chown(&path, Some(12345), Some(54321)).is_ok();
    replace(&path, b"new").unwrap();
    let now = fs::metadata(&path).unwrap();
    assert_eq!(now.mode() & 0o7777, 0o640);
    if away {
        assert_eq!((now.uid(), now.gid()), (12345, 54321));
    }
    assert_eq!(
        (read(&path), read(&part)),
        ("new".into(), "the user's".into())
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no drafts");
}

#[test]
fn a_pipe_is_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|made| made.success()) {
        return;
    }
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || read(path))
    };
    replace(&path, b"through").unwrap();
    assert_eq!(reader.join().unwrap(), "through");
    assert!(!fs::metadata(&path).unwrap().is_file());
}

#[test]
fn readers_beside_many_writers_see_whole_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("x");
    let whole = |byte: u8| vec![byte; 100_000];
    replace(path, &whole(0)).unwrap();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=4)
            .map(|byte| {
                scope.spawn(move || (0..25).for_each(|_| replace(path, &whole(byte)).unwrap()))
            })
            .collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            let seen = fs::read(path).unwrap();
            assert!(seen == whole(seen[0]), "{} bytes", seen.len());
        }
    });
}
