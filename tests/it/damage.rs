//! Files that were changed behind our back, and servers that would share them.

use rustix::process::Signal;
use spine_tests::{Fx, Spine, lines};
use std::{
    fs::OpenOptions,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Positions of the active segment at which a bit is flipped.
const SAMPLES: u64 = 24;

/// A server that has done something, stopped or killed; and its active segment.
fn lived(kill: bool) -> (Spine, PathBuf) {
    let fx = Fx::willing();
    let mut spine = Spine::fresh().start();
    let steps = (0..5).map(|at| lines::step(&format!("s{at}"), &fx.tool("t"), "pure"));
    spine.start_run(&lines::plan("r", &lines::quick(1), steps.collect()));
    spine.wait_run("r", &["completed"]);
    if kill {
        spine.kill();
    } else {
        assert!(spine.stop().success(), "{}", spine.words());
    }
    let segment = spine.segments("spine.steps").pop().expect("a segment");
    (spine, segment)
}

fn flip(path: &Path, at: u64) {
    let mut file = OpenOptions::new().read(true).write(true).open(path).expect("the file");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.read_exact(&mut byte).expect("a byte");
    file.seek(SeekFrom::Start(at)).expect("a place");
    file.write_all(&[byte[0] ^ 0x10]).expect("a changed byte");
}

#[test]
fn f1_a_flipped_bit_in_the_active_segment_is_named_at_start() {
    let (mut spine, segment) = lived(false);
    let size = std::fs::metadata(&segment).expect("a file").len();
    let sound = std::fs::read(&segment).expect("a file");
    let name = segment.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    for sample in 0..SAMPLES {
        let at = sample * (size - 1) / (SAMPLES - 1);
        flip(&segment, at);
        std::fs::write(spine.dir().join("server.out"), "").expect("a fresh page");
        let ended = spine.try_start().expect_err("a damaged log was opened");
        let words = spine.words();
        assert_eq!(ended.code(), Some(6), "byte {at}: {words}");
        assert!(words.contains(&name) && words.contains("byte"), "byte {at}: {words}");
        std::fs::write(&segment, &sound).expect("the sound bytes");
    }
    spine.restart();
    assert_eq!(spine.get("/v1/runs/r").json()["status"], "completed");
}

#[test]
fn f1_a_torn_tail_is_cut_with_a_warning() {
    let (mut spine, segment) = lived(true);
    let size = std::fs::metadata(&segment).expect("a file").len();
    let mut file = OpenOptions::new().append(true).open(&segment).expect("the file");
    file.write_all(&[2, 250, 1, 7, 7, 7]).expect("the beginning of a block");
    drop(file);
    spine.restart();
    assert_eq!(spine.get("/v1/runs/r").json()["status"], "completed");
    let words = spine.words();
    assert!(words.contains("WARN") && words.contains("torn"), "no warning: {words}");
    assert!(std::fs::metadata(&segment).expect("a file").len() >= size);
    let body = lines::ndjson(&lines::record_run("e", 1));
    let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
    assert_eq!(reply.expect("an answer").status, 202);
}

#[test]
fn f1_a_segment_shorter_than_its_durable_length_is_damage() {
    let (mut spine, segment) = lived(false);
    let size = std::fs::metadata(&segment).expect("a file").len();
    let file = OpenOptions::new().write(true).open(&segment).expect("the file");
    file.set_len(size - 10).expect("a shorter file");
    let ended = spine.try_start().expect_err("acknowledged events were cut without a word");
    assert_eq!(ended.code(), Some(6), "{}", spine.words());
}

#[test]
fn f1_a_second_server_on_one_directory_is_told_who_holds_it() {
    let spine = Spine::fresh().start();
    let mut second = Spine::at(spine.dir());
    let ended = second.try_start().expect_err("two servers on one directory");
    let words = second.words();
    assert_eq!(ended.code(), Some(3), "{words}");
    let pid = spine.pid().as_raw_nonzero().to_string();
    assert!(words.contains(&pid), "who holds it (process {pid}) is not said: {words}");
    // Also while the first is halted: its lock is no matter of time.
    spine.signal(Signal::STOP);
    assert!(second.try_start().is_err());
    spine.signal(Signal::CONT);
    assert_eq!(spine.get("/healthz").status, 200);
}
