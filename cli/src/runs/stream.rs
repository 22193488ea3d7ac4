//! `spine runs stream`: what attempts of a run say while they run, as it comes.

use super::RunArgs;
use crate::{
    client::{Client, EventReader, Opened, failure_of, segment},
    exit::{Exit, Failure},
    output,
};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::sleep;

/// How often an owner that went is asked for again, once a second.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

/// Arguments of `runs stream`.
#[derive(clap::Args)]
#[command(
    after_help = "Text that agents publish while an attempt runs is printed as it comes; it is kept nowhere. \
    What was said before this command began is not there. The result of a step is in 'spine runs show'."
)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunArgs,
    /// Only this step: NAME, SCOPE/NAME or NAME#OCCURRENCE
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
}

/// Prints what is said until the run ends.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let client = Client::new(&args.of.server);
    let mut path = args.of.path("/stream");
    if let Some(step) = &args.step {
        path.push_str(&format!("&step={}", segment(step)));
    }
    let mut printer = Printer { json: args.of.server.json, ..Printer::default() };
    let mut tries = 0;
    loop {
        match listen(&client, &path, &mut printer).await? {
            Ended::Run => return Ok(()),
            Ended::Owner => tries = 0,
            Ended::NotYet(failure) if !printer.has_heard || tries == TRIES => return Err(failure),
            Ended::NotYet(_) => {}
        }
        if tries == 0 {
            output::complain(
                "-- the run's owner went; what is said until there is another is missing\n",
            );
        }
        tries += 1;
        sleep(PAUSE).await;
    }
}

/// Why nothing more is said.
enum Ended {
    /// The run has ended.
    Run,
    /// The owner of its partition went.
    Owner,
    /// There was none.
    NotYet(Failure),
}

/// Listens once.
async fn listen(client: &Client, path: &str, printer: &mut Printer) -> Result<Ended, Failure> {
    let mut body = match client.open(path).await {
        Ok(Opened::Stream(body)) => body,
        Ok(Opened::Refused(answer)) => {
            let failure = failure_of(&answer, printer.json);
            return if answer.status == 503 { Ok(Ended::NotYet(failure)) } else { Err(failure) };
        }
        Err(failure) => return Ok(Ended::NotYet(failure)),
    };
    let mut reader = EventReader::default();
    while let Some(Ok(bytes)) = body.next().await {
        for event in reader.read(&bytes) {
            printer.print(&event.name, &event.data)?;
            if event.name == "run_ended" {
                return Ok(Ended::Run);
            }
        }
    }
    Ok(Ended::Owner)
}

/// Remembers who spoke last, so that changes are marked.
#[derive(Default)]
struct Printer {
    json: bool,
    has_heard: bool,
    speaker: Option<(String, u32)>,
    /// The newest attempt of each step that has said something.
    spoke: BTreeMap<String, u32>,
    /// Whether the line that was printed last has no end yet.
    is_open: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Heard<'a> {
    step: String,
    attempt: u32,
    status: String,
    count: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    live: Vec<Live>,
}

#[derive(Deserialize)]
struct Live {
    step: String,
    attempt: u32,
}

impl Printer {
    fn print(&mut self, name: &str, data: &str) -> Result<(), Failure> {
        self.has_heard = true;
        if self.json {
            return output::line(&format!(r#"{{"event":"{name}","data":{data}}}"#));
        }
        let said: Heard<'_> = serde_json::from_str(data).map_err(|error| {
            Failure::new(Exit::Failed, format!("could not read the server's answer: {error}"))
        })?;
        output::print(&self.text(name, &said))
    }

    fn text(&mut self, name: &str, said: &Heard<'_>) -> String {
        let (step, attempt) = (said.step.as_str(), said.attempt);
        match name {
            "part" => self.part(said),
            "listening" => self.listening(&said.live),
            "retry" => self.void(step, attempt),
            "attempt_ended" if said.status == "completed" => {
                self.mark(&format!("{step} is completed"))
            }
            "attempt_ended" => self.mark(&format!("{step}, attempt {attempt}: {}", said.status)),
            "missed" => self.mark(&format!("{} parts are missing: too slow", said.count)),
            "run_ended" => self.mark(&format!("the run is {}", said.status)),
            // That a step begins is seen by what it says.
            _ => String::new(),
        }
    }

    fn void(&mut self, step: &str, attempt: u32) -> String {
        self.mark(&format!("{step}, attempt {attempt}: what earlier ones said is void"))
    }

    /// After a gap another attempt may run than the one that was heard before.
    fn listening(&mut self, live: &[Live]) -> String {
        let is_new = |of: &&Live| self.spoke.get(&of.step).is_some_and(|spoke| *spoke < of.attempt);
        let new: Vec<&Live> = live.iter().filter(is_new).collect();
        new.into_iter().map(|of| self.void(&of.step, of.attempt)).collect()
    }

    fn part(&mut self, said: &Heard<'_>) -> String {
        let mut text = String::new();
        let speaker = (said.step.clone(), said.attempt);
        if self.speaker.as_ref() != Some(&speaker) {
            text = self.mark(&format!("{}, attempt {}", said.step, said.attempt));
            self.spoke.insert(said.step.clone(), said.attempt);
            self.speaker = Some(speaker);
        }
        let data = said.data.map_or("null", RawValue::get);
        match serde_json::from_str(data) {
            Ok(Value::String(words)) => {
                self.is_open = !words.ends_with('\n');
                // Nothing that would move the cursor of a terminal, or do more.
                text.extend(
                    words.chars().filter(|of| !of.is_control() || matches!(of, '\n' | '\t')),
                );
            }
            _ => {
                let close = if self.is_open { "\n" } else { "" };
                text.push_str(&format!("{close}{data}\n"));
                self.is_open = false;
            }
        }
        text
    }

    /// A line about what goes on, on a line of its own.
    fn mark(&mut self, what: &str) -> String {
        self.speaker = None;
        let close = if std::mem::take(&mut self.is_open) { "\n" } else { "" };
        format!("{close}-- {what}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(events: &[(&str, &str)]) -> String {
        let mut printer = Printer::default();
        let read = |data: &'static str| serde_json::from_str::<Heard<'static>>(data).unwrap();
        events
            .iter()
            .map(|(name, data)| {
                let data: &'static str = Box::leak((*data).to_owned().into_boxed_str());
                printer.text(name, &read(data))
            })
            .collect()
    }

    #[test]
    fn words_are_joined_and_turns_stand_on_their_own_lines() {
        let events = [
            ("listening", r#"{"status":"running","live":[{"step":"draft#1","attempt":1}]}"#),
            ("part", r#"{"step":"draft#1","attempt":1,"data":"Dear "}"#),
            ("part", r#"{"step":"draft#1","attempt":1,"data":"\u001b]0;M\u0007s"}"#),
            ("attempt_ended", r#"{"step":"draft#1","attempt":1,"status":"retry_waiting"}"#),
            ("retry", r#"{"step":"draft#1","attempt":2}"#),
            ("part", r#"{"step":"draft#1","attempt":2,"data":{"percent":50}}"#),
            ("missed", r#"{"count":3}"#),
            ("listening", r#"{"status":"running","live":[{"step":"draft#1","attempt":3}]}"#),
            ("run_ended", r#"{"status":"completed"}"#),
        ];
        let expected = "-- draft#1, attempt 1\nDear ]0;Ms\n-- draft#1, attempt 1: retry_waiting\n\
            -- draft#1, attempt 2: what earlier ones said is void\n-- draft#1, attempt 2\n\
            {\"percent\":50}\n-- 3 parts are missing: too slow\n\
            -- draft#1, attempt 3: what earlier ones said is void\n-- the run is completed\n";
        assert_eq!(text(&events), expected);
    }
}
