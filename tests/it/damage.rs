//! Files that were changed behind our back, and servers that would share them.

use rustix::process::Signal;
use serde_json::json;
use spine_tests::{Fx, Spine, lines, spine, substrate};
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
    if substrate::is_without_files("files of the embedded log are damaged") {
        return;
    }
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
    if substrate::is_without_files("files of the embedded log are damaged") {
        return;
    }
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
    if substrate::is_without_files("files of the embedded log are damaged") {
        return;
    }
    let (mut spine, segment) = lived(false);
    let size = std::fs::metadata(&segment).expect("a file").len();
    let file = OpenOptions::new().write(true).open(&segment).expect("the file");
    file.set_len(size - 10).expect("a shorter file");
    let ended = spine.try_start().expect_err("acknowledged events were cut without a word");
    assert_eq!(ended.code(), Some(6), "{}", spine.words());
}

#[test]
fn f1_a_second_server_on_one_directory_is_told_who_holds_it() {
    if substrate::is_without_files("files of the embedded log are damaged") {
        return;
    }
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

/// Enough for a segment of 64 MiB to be sealed.
fn fill_a_segment(spine: &Spine) {
    for batch in 0..3 {
        let line = |at: usize| {
            json!({"kind": "run_created", "run_id": format!("big{batch}-{at}"),
                "run": {"workflow": "w", "version": "1", "input": "z".repeat(250_000)}})
        };
        let body = lines::ndjson(&(0..100).map(line).collect::<Vec<_>>());
        let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
        assert_eq!(reply.expect("an answer").status, 202);
    }
}

#[test]
fn f1_c14_a_flipped_bit_in_a_sealed_segment_is_named_when_it_is_read_or_replayed() {
    if substrate::is_without_files("files of the embedded log are damaged") {
        return;
    }
    let mut server = Spine::fresh().start();
    fill_a_segment(&server);
    server.wait_run("big2-99", &["running", "waiting"]);
    assert!(server.stop().success(), "{}", server.words());
    let sealed = server.segments("spine.steps").swap_remove(0);
    assert!(server.segments("spine.steps").len() > 1, "no segment was sealed");
    flip(&sealed, std::fs::metadata(&sealed).expect("a file").len() / 2);
    let name = sealed.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
    // A start reads the active segment only; nothing that is sound is held back.
    server.restart();
    let damaged = (0..3).flat_map(|batch| (0..100).map(move |at| format!("big{batch}-{at}")));
    let damaged: Vec<u16> = damaged
        .map(|run| server.get(&format!("/v1/runs/{run}/events")))
        .filter(|reply| reply.status != 200)
        .map(|reply| {
            assert_eq!((reply.status, reply.code()), (500, 1402), "{}", reply.json());
            reply.status
        })
        .collect();
    assert!(!damaged.is_empty() && damaged.len() < 300, "{} runs are damaged", damaged.len());
    assert!(server.words().contains(&name), "the file is not named: {}", server.words());
    server.stop();
    let to = server.dir().join("fresh.db").display().to_string();
    let out = spine(&["replay", "--log", &server.log_url(), "--to", &to]).output();
    let out = out.expect("the binary runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(6), "{said}");
    assert!(said.contains(&name) && said.contains("byte"), "not named: {said}");
}
