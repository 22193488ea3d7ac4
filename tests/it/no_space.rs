//! No space for the log: nothing new is taken, nothing is done outside, and it goes on by itself.

use rustix::fs::statvfs;
use serde_json::Value;
use spine_tests::{Fx, Spine, lines, substrate, waits};
use std::{path::PathBuf, process::Command};

/// A file system of 4 MiB, unmounted at the end; `None` where that is not allowed.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mount = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(dir.path()).output();
        mounted.is_ok_and(|out| out.status.success()).then_some(Self(dir))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let free = statvfs(self.0.path()).expect("a file system");
        let bytes = vec![0; (free.f_bavail * free.f_frsize) as usize];
        std::fs::write(self.filler(), bytes).expect("the rest of the space");
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        // Left mounted, the scratch directory would stay, which harms nobody.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn plan(run: &str, fx: &Fx) -> Value {
    let steps = vec![lines::step("pay", &fx.tool("pay"), "at_most_once")];
    lines::plan(run, &lines::quick(3), steps)
}

/// Refused by number, and neither here nor outside has anything happened.
fn is_refused(spine: &Spine, fx: &Fx, run: &str) {
    let reply = spine.http().post("/v1/runs", &plan(run, fx)).expect("an answer");
    assert_eq!((reply.status, reply.code()), (503, 1302), "{}", reply.json());
    assert!(reply.head.to_lowercase().contains("retry-after"), "{}", reply.head);
    let body = lines::ndjson(&lines::record_run(run, 1));
    let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
    let reply = reply.expect("an answer");
    assert_eq!((reply.status, reply.code()), (503, 1302), "{}", reply.json());
    assert_eq!(spine.get(&format!("/v1/runs/{run}")).status, 404);
    assert!(fx.calls_of(run, "pay").is_empty(), "an effect without a durable intent");
}

#[test]
fn p1_a_full_disk_refuses_new_work_has_no_effects_and_recovers() {
    if substrate::is_without_files("it is about the embedded log's disk") {
        return;
    }
    let Some(tiny) = Tiny::new() else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let fx = Fx::willing();
    let dir = tempfile::tempdir().expect("a scratch directory");
    std::os::unix::fs::symlink(tiny.0.path(), dir.path().join("log")).expect("a link");
    let mut spine = Spine::at(dir.path()).with(&["--commit-headroom-bytes", "0"]).start();
    spine.start_run(&plan("before", &fx));
    spine.wait_run("before", &["completed"]);
    tiny.fill();
    // What is left of the last page holds a few more small records.
    let mut more = 0;
    let refused = waits::until("the disk to be full", || {
        more += 1;
        let body = lines::ndjson(&lines::record_run(&format!("filler{more}"), 0)[..1]);
        let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body).ok()?;
        (reply.status != 202).then_some(reply)
    });
    assert_eq!((refused.status, refused.code()), (503, 1302), "{}", refused.json());
    is_refused(&spine, &fx, "full");
    std::fs::remove_file(tiny.filler()).expect("space again");
    spine.start_run(&plan("after", &fx));
    spine.wait_run("after", &["completed"]);
    spine.kill();
    spine.restart();
    for run in ["before", "after"] {
        assert_eq!(spine.get(&format!("/v1/runs/{run}")).json()["status"], "completed");
        assert_eq!(fx.calls_of(run, "pay").len(), 1);
    }
}

#[test]
fn p1_head_room_is_kept_and_refuses_new_work_before_the_disk_is_full() {
    if substrate::is_without_files("it is about the embedded log's disk") {
        return;
    }
    let fx = Fx::willing();
    let mut spine = Spine::fresh().start();
    spine.start_run(&plan("before", &fx));
    spine.wait_run("before", &["completed"]);
    spine.stop();
    // More than any disk has: what the head-room is kept for is the end of live attempts.
    let mut spine =
        Spine::at(spine.dir()).with(&["--commit-headroom-bytes", "4611686018427387904"]);
    spine.launch();
    waits::until("the surface", || spine.http().get("/healthz").ok());
    let reply = spine.http().post("/v1/runs", &plan("full", &fx)).expect("an answer");
    assert_eq!(reply.status, 503, "{}", reply.json());
    assert!(reply.code() > 1300, "{}", reply.json());
    assert!(fx.calls_of("full", "pay").is_empty());
}
