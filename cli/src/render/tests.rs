//! Golden text: what a person sees, byte for byte, without colour.

use super::{cell, letter, run, table, when};
use crate::views::{Letter, Payloads, Run, Step, StepsPage, Why};
use spine_schemas::time::Micros;

fn at(text: &str) -> Micros {
    Micros::parse(text).unwrap()
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

const RUN: &str = r#"{"tenant":"default","run_id":"refund-17","workflow":"refund","version":"3",
  "driver":"plan","status":"waiting","waiting_for":[],"steps":{"total":4,"completed":1,"failed":0,
  "dead_lettered":1},"attempts":4,"cost_micros":4100,"tokens":{"input_uncached":812,"cache_read":0,
  "cache_write":0,"output_text":95,"output_reasoning":0},"decisions":0,
  "started_at":"2026-08-01T10:00:00Z","ended_at":null,"applied":{"topic":"t","partition":0,"offset":9},
  "input":{"order":"A-17"},"output":null,"error":null,"failed_step":null,"digest":"00"}"#;

const STEPS: &str = r#"{"next":null,"steps":[
  {"step":"email#1","status":"running","attempt":1,"charged":0,"attempts":[
     {"attempt":1,"started_at":"2026-08-01T10:00:02Z","ended_at":null,"end":"running","charged":false}],
   "due_at":null,"lease_until":"2026-08-01T10:00:32Z","effect":"at_most_once","idempotency_key":"k",
   "letter":null,"scheduled_at":"2026-08-01T10:00:01.900Z","output":null},
  {"step":"branch/refund#2","status":"dead_lettered","attempt":2,"charged":2,"attempts":[
     {"attempt":1,"started_at":"2026-08-01T10:00:00.500Z","ended_at":"2026-08-01T10:00:00.512Z",
      "end":"failed","charged":true,"error":{"class":"transient","code":"http_503","message":"503 Service Unavailable"}},
     {"attempt":2,"started_at":"2026-08-01T10:00:00.712Z","ended_at":"2026-08-01T10:00:01.712Z",
      "end":"failed","charged":true,"injected":"timeout","error":{"class":"timeout","code":"timeout","message":"no answer"}}],
   "due_at":null,"lease_until":null,"effect":"idempotent","idempotency_key":"k","letter":"3f0a",
   "scheduled_at":"2026-08-01T10:00:00.400Z","output":null},
  {"step":"lookup#1","status":"completed","attempt":1,"charged":0,"attempts":[
     {"attempt":1,"started_at":"2026-08-01T10:00:00.010Z","ended_at":"2026-08-01T10:00:00.032Z",
      "end":"completed","charged":false,"cost_micros":4100}],
   "due_at":null,"lease_until":null,"effect":"pure","idempotency_key":"k","letter":null,
   "scheduled_at":"2026-08-01T10:00:00.005Z","output":{"data":{"customer":"c9"}}}]}"#;

const TIMELINE: &str = "\
refund-17  waiting  refund v3, plan run, tenant default
  started  2026-08-01 10:00:00 UTC (12.0s ago), open for 12.0s
  steps    1 of 4 completed, 1 dead-lettered, 4 attempts
  usage    cost 0.0041, 812 tokens in, 95 out
  input    {\"order\":\"A-17\"}

  lookup           completed      pure
    #1     +0.010s    22ms  completed  cost 0.0041
  branch/refund#2  dead_lettered  idempotent
    #1     +0.500s    12ms  failed  transient http_503: 503 Service Unavailable
    #2     +0.712s    1.0s  failed  timeout timeout: no answer  (injected timeout)  after 200ms of waiting
    letter 3f0a
  email            running        at_most_once
    #1     +2.000s   10.0s  running
    runs; ends in 20.0s at the latest
  1 step not scheduled yet

Attempt 1 of step email#1 runs.
";

#[test]
fn a_run_is_shown_as_a_timeline() {
    let run: Run = serde_json::from_str(RUN).unwrap();
    let payloads: Payloads = serde_json::from_str(RUN).unwrap();
    let steps: Vec<Step> = serde_json::from_str::<StepsPage>(STEPS).unwrap().steps;
    let why = Why { why: "Attempt 1 of step email#1 runs.".into(), last_event: None, owner: None };
    let now = at("2026-08-01T10:00:12Z");
    let shown = run::Shown { run: &run, payloads: &payloads, steps: &steps, why: &why, now };
    assert_eq!(plain(&run::timeline(&shown)), TIMELINE);
}

const LETTER: &str = r#"{"id":"3f0a","kind":"step","status":"open","tenant":"acme","run_id":"refund-17",
  "step":"refund#1","tool":"http://127.0.0.1:9000/refund","class":"transient","code":"http_503",
  "message":"503 Service Unavailable","generation":1,"attempt_count":2,"dead_at":"2026-08-01T10:00:02Z",
  "source":{"topic":"spine.steps","partition":0,"offset":4},"decided":{"topic":"t","partition":0,"offset":9},
  "closed_at":null,"closed_by":null,"closed_reason":null,"attempts":[
   {"attempt":1,"started_at":"2026-08-01T10:00:00Z","ended_at":"2026-08-01T10:00:00.012Z","class":"transient",
    "code":"http_503","message":"503 Service Unavailable","charged":true},
   {"attempt":2,"started_at":"2026-08-01T10:00:01Z","ended_at":"2026-08-01T10:00:01.500Z","class":"rate_limited",
    "code":"http_429","message":"429 Too Many Requests","charged":false}]}"#;

const WHOLE_LETTER: &str = "\
3f0a  open  step letter
  run      acme/refund-17
  step     refund
  tool     http://127.0.0.1:9000/refund
  since    2026-08-01 10:00:02 UTC (1m00s ago)
  error    transient http_503: 503 Service Unavailable
  original partition 0 offset 4
  redriven 1 time before

  #1     2.0s before the end, took   12ms  transient http_503: 503 Service Unavailable
  #2     1.0s before the end, took  500ms  rate_limited http_429: 429 Too Many Requests  free

Repair the cause, then put it back to work:
  spine dead-letters redrive 3f0a --reason '…'
or give it up:
  spine dead-letters discard 3f0a --then fail|skip --reason '…'
";

#[test]
fn a_letter_is_shown_with_every_attempt_and_what_to_do() {
    let shown: Letter = serde_json::from_str(LETTER).unwrap();
    let now = at("2026-08-01T10:01:02Z");
    assert_eq!(plain(&letter::whole(&shown, now)), WHOLE_LETTER);
}

#[test]
fn letters_are_listed_in_columns() {
    let shown: Letter = serde_json::from_str(LETTER).unwrap();
    let text = plain(&letter::list(&[shown], at("2026-08-01T10:01:02Z")));
    assert_eq!(
        text,
        "ID    STATUS  RUN             STEP    ERROR               ATTEMPTS  WHEN\n\
         3f0a  open    acme/refund-17  refund  transient http_503         2  1m00s ago\n"
    );
}

#[test]
fn columns_line_up() {
    let columns = [table::Column::Text("A"), table::Column::Number("COUNT")];
    let rows = [vec!["long".into(), "1".into()], vec!["é".into(), "1000000".into()]];
    let text = plain(&table::table(&columns, &rows));
    assert_eq!(text, "A       COUNT\nlong        1\né     1000000\n");
}

#[test]
fn durations_have_telling_digits() {
    let cases = [
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1.0s"),
        (59_999, "59.9s"),
        (60_000, "1m00s"),
        (3_600_000, "1h00m"),
        (90_000_000, "1d01h"),
    ];
    for (ms, text) in cases {
        assert_eq!(when::lasting(ms), text);
    }
    let now = at("2026-08-01T10:00:00Z");
    assert_eq!(when::relative(now.plus_ms(1500), now), "in 1.5s");
    assert_eq!(when::relative(now, now), "0ms ago");
    assert_eq!(when::after(now.plus_ms(61_007), now), "+61.007s");
}

#[test]
fn money_keeps_every_digit_that_says_something() {
    for (micros, text) in [(0, "0.00"), (4_100, "0.0041"), (1_500_000, "1.50"), (1, "0.000001")] {
        assert_eq!(cell::money(micros), text);
    }
}

#[test]
fn long_text_is_cut_and_marked_on_one_line() {
    assert_eq!(cell::short("a\nb", 10), "a b");
    assert_eq!(cell::short("abcdef", 3), "abc…");
    assert_eq!(cell::short("äöü", 3), "äöü");
}
