//! Who hears what, what is kept for the slow, and who is sent away.

use super::*;
use bytes::Bytes;
use spine_runs::{PartitionState, Place as At, RunStatus, fold};
use spine_schemas::{
    Body, Driver, Effect, Event, Payload, RunCreated, RunEvent, StepEvent, StepSpec, StepStarted,
    time::Micros,
};
use std::time::Duration;
use tokio::time::timeout;

/// A journal run that an agent drives, event by event.
struct Agent {
    run: Option<Arc<RunState>>,
    offset: u64,
}

impl Agent {
    fn new() -> Self {
        let mut agent = Self { run: None, offset: 0 };
        agent.folds(RunEvent::Created(Box::new(RunCreated {
            workflow: "w".into(),
            version: "1".into(),
            driver: Driver::Journal,
            input: Payload::null(),
            tags: BTreeMap::new(),
            parent: None,
            plan: None,
            fork: None,
            caller: None,
        })));
        agent
    }

    fn key() -> RunKey {
        RunKey::new("default", "r")
    }

    fn folds(&mut self, event: RunEvent) {
        self.fold(Body::Run("r".into(), event));
    }

    fn begins(&mut self, step: &str) {
        let spec = Some(Arc::new(StepSpec::new("t", Effect::Pure, Payload::null())));
        let start = StepEvent::Started(StepStarted { spec, ..StepStarted::default() });
        self.fold(Body::Step("r".into(), StepKey::named(step), start));
    }

    fn completes(&mut self, step: &str) {
        let (step, output) = (StepKey::named(step), spine_schemas::Output::of(Payload::null()));
        let lease = self.state().steps[&step].live.as_ref().map(|live| live.lease);
        let completed = StepEvent::Completed { attempt: 1, lease, output, usage: None };
        self.fold(Body::Step("r".into(), step, completed));
    }

    fn fold(&mut self, body: Body) {
        self.offset += 1;
        let at = Micros(1_700_000_000_000_000);
        let mut event = Event::new(format!("e{}", self.offset), "default", at, "test", body);
        if self.offset > 1 {
            let op_id = self.offset;
            let (session, replaces, version) = ("s".to_owned(), None, None);
            event.op = Some(spine_schemas::Op { session, op_id, replaces, version });
        }
        let place = At { partition: 0, offset: self.offset, at };
        let verdict = fold(&mut PartitionState::default(), &mut self.run, &event, place);
        assert!(matches!(verdict, spine_runs::Verdict::Applied(_)), "{verdict:?}");
    }

    fn state(&self) -> &RunState {
        self.run.as_deref().unwrap()
    }
}

fn part(attempt: u32, data: &'static str) -> Part {
    Part { step: StepKey::named("a"), attempt, data: Bytes::from_static(data.as_bytes()) }
}

/// Somebody asks, and the owner lets it in.
async fn listens(streams: &Streams, run: Option<&RunState>) -> Result<Listener, ListenError> {
    let listening = tokio::spawn({
        let streams = streams.clone();
        async move { streams.listen(0, Agent::key()).await }
    });
    // Somebody who went before may have called it as well.
    while !listening.is_finished() {
        let called = timeout(Duration::from_secs(1), streams.asked(0)).await;
        called.expect("the owner is called");
        for asked in streams.take_asked(0) {
            streams.admit(0, asked, run);
        }
        tokio::task::yield_now().await;
    }
    listening.await.unwrap()
}

/// What lies in a mailbox now.
async fn heard(listener: &mut Listener) -> Vec<Said> {
    let mut said = Vec::new();
    while let Ok(Some(next)) = timeout(Duration::from_millis(1), listener.next()).await {
        said.push(next);
    }
    said
}

#[tokio::test(start_paused = true)]
async fn everybody_who_listens_hears_the_attempt_that_runs_and_nobody_else_is_kept_for() {
    let (streams, mut agent) = (Streams::new(1), Agent::new());
    agent.begins("a");
    assert_eq!(streams.say(&Agent::key(), part(1, "\"lost\"")), Ok(0));
    let mut one = listens(&streams, Some(agent.state())).await.unwrap();
    let mut two = listens(&streams, Some(agent.state())).await.unwrap();
    assert_eq!(streams.say(&Agent::key(), part(1, "\"x\"")), Ok(2));
    assert_eq!(streams.say(&Agent::key(), part(2, "\"y\"")), Ok(0), "not known yet");
    assert_eq!(streams.say(&Agent::key(), part(0, "\"y\"")), Err(NotLive { live: Some(1) }));
    let live = BTreeMap::from([(StepKey::named("a"), 1)]);
    let expected =
        [Said::Listening { status: RunStatus::Running, live }, Said::Part(part(1, "\"x\""))];
    assert_eq!(heard(&mut one).await, expected);
    assert_eq!(heard(&mut two).await, expected);
    drop((one, two));
    assert_eq!(streams.say(&Agent::key(), part(1, "\"z\"")), Ok(0));
    assert!(streams.is_silent(), "nothing is left of a run that nobody listens to");
    assert_eq!(streams.state().listeners, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_holds_nobody_up_and_is_told_what_it_missed_where_it_is_missing() {
    let (streams, mut agent) = (Streams::new(1), Agent::new());
    agent.begins("a");
    let mut slow = listens(&streams, Some(agent.state())).await.unwrap();
    for _ in 0..10_000 {
        assert_eq!(streams.say(&Agent::key(), part(1, "\"0123456789\"")), Ok(1));
    }
    let said = heard(&mut slow).await;
    let parts = said.iter().filter(|said| matches!(said, Said::Part(_))).count();
    assert_eq!(said.last(), Some(&Said::Missed(10_000 - parts as u64)));
    assert!(parts * 12 <= limits::MAILBOX_BYTES, "{parts} parts waited");
    streams.say(&Agent::key(), part(1, "\"now\"")).unwrap();
    assert_eq!(heard(&mut slow).await, [Said::Part(part(1, "\"now\""))]);
}

#[tokio::test(start_paused = true)]
async fn who_misses_words_still_hears_what_becomes_of_them() {
    let (streams, mut agent) = (Streams::new(1), Agent::new());
    agent.begins("a");
    let mut slow = listens(&streams, Some(agent.state())).await.unwrap();
    for _ in 0..2_000 {
        streams.say(&Agent::key(), part(1, "1")).unwrap();
    }
    agent.completes("a");
    let key = StepKey::named("a");
    streams.follow(agent.state(), Some(&key));
    let said = heard(&mut slow).await;
    let status = spine_runs::StepStatus::Completed;
    assert_eq!(said.last(), Some(&Said::AttemptEnded { step: key, attempt: 1, status }));
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_comes_before_what_was_said_later() {
    let (streams, mut agent) = (Streams::new(1), Agent::new());
    agent.begins("a");
    let mut slow = listens(&streams, Some(agent.state())).await.unwrap();
    for _ in 0..2_000 {
        streams.say(&Agent::key(), part(1, "1")).unwrap();
    }
    assert!(matches!(slow.next().await, Some(Said::Listening { .. })));
    streams.say(&Agent::key(), part(1, "\"later\"")).unwrap();
    let said = heard(&mut slow).await;
    let [.., missed, later] = said.as_slice() else { panic!("{}", said.len()) };
    assert!(matches!(missed, Said::Missed(_)), "{missed:?}");
    assert_eq!(*later, Said::Part(part(1, "\"later\"")));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_run_is_told_and_ends_it_for_all() {
    let (streams, mut agent) = (Streams::new(1), Agent::new());
    let mut one = listens(&streams, Some(agent.state())).await.unwrap();
    agent.begins("a");
    streams.follow(agent.state(), Some(&StepKey::named("a")));
    agent.completes("a");
    streams.follow(agent.state(), Some(&StepKey::named("a")));
    agent.folds(RunEvent::Completed { output: None });
    streams.follow(agent.state(), None);
    let said = heard(&mut one).await;
    assert_eq!(said[1], Said::Began(StepKey::named("a")));
    assert_eq!(said.last(), Some(&Said::RunEnded(RunStatus::Completed)));
    assert_eq!(one.next().await, None);
    assert!(streams.is_silent());
    let mut late = listens(&streams, Some(agent.state())).await.unwrap();
    let said = heard(&mut late).await;
    assert_eq!(said.last(), Some(&Said::RunEnded(RunStatus::Completed)));
    assert_eq!(late.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn who_listens_is_sent_away_when_the_owner_or_the_process_goes() {
    let (streams, agent) = (Streams::new(2), Agent::new());
    let mut one = listens(&streams, Some(agent.state())).await.unwrap();
    streams.leave(1);
    assert_eq!(heard(&mut one).await.len(), 1, "another partition");
    streams.leave(0);
    assert_eq!(one.next().await, None);
    let waiting = tokio::spawn({
        let streams = streams.clone();
        async move { streams.listen(0, Agent::key()).await.err() }
    });
    tokio::task::yield_now().await;
    streams.close();
    assert_eq!(waiting.await.unwrap(), Some(ListenError::NoOwner));
    assert_eq!(streams.listen(0, Agent::key()).await.err(), Some(ListenError::NoOwner));
    timeout(Duration::from_secs(1), streams.closed()).await.expect("it goes");
}

#[tokio::test(start_paused = true)]
async fn places_are_bounded_and_come_back() {
    let (streams, agent) = (Streams::new(2), Agent::new());
    assert_eq!(listens(&streams, None).await.err(), Some(ListenError::NoRun));
    // Somebody asks where no owner answers, and goes.
    let gone = timeout(Duration::from_millis(1), streams.listen(1, Agent::key())).await;
    assert!(gone.is_err());
    let mut all = Vec::new();
    for _ in 0..limits::LISTENERS {
        all.push(listens(&streams, Some(agent.state())).await.unwrap());
    }
    assert_eq!(streams.listen(0, Agent::key()).await.err(), Some(ListenError::Full));
    all.pop();
    assert!(listens(&streams, Some(agent.state())).await.is_ok());
}
