//! One verb for many things: those that were named, or one a line in a file, which freezes what was chosen. Each is asked
//! for by itself, so one that is refused holds up no other; what became of each is printed.

use crate::{
    client::{Answer, Client, Content, ServerArgs, failure_of},
    exit::{Exit, Failure},
    json_file, output,
};
use futures::stream::{self, StreamExt};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Requests that are open at one time.
const AT_ONCE: usize = 16;
/// Most things of one command.
const MOST: usize = 1_000_000;

/// One of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// What people call it.
    pub(crate) name: String,
    /// What is asked for.
    pub(crate) path: String,
}

/// What was chosen, each once, in its order: names from the command line, or the lines of a file.
///
/// # Errors
/// When nothing was, or both.
pub(crate) fn chosen(named: &[String], from: Option<&Path>) -> Result<Vec<String>, Failure> {
    let usage = |message: &str| Err(Failure::new(Exit::Usage, message));
    let names = match (named, from) {
        ([], None) => return usage("name one or more, or a file with one a line: --from FILE"),
        ([_, ..], Some(_)) => return usage("names and --from exclude each other"),
        (named, None) => named.to_vec(),
        ([], Some(file)) => {
            let bytes = json_file::read(file)?;
            let text = String::from_utf8_lossy(&bytes);
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
    };
    let mut seen = BTreeSet::new();
    let once: Vec<String> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
    match once.len() {
        0 => usage("the file names nothing"),
        count if count > MOST => usage(&format!("{count} are too many for one command: {MOST}")),
        _ => Ok(once),
    }
}

/// Which things, and how their answers are shown.
#[derive(Clone, Debug)]
pub(crate) struct Bulk<'a> {
    /// What one of them is called.
    pub(crate) what: &'static str,
    /// What is asked of each, as a verb.
    pub(crate) verb: &'a str,
    /// Why; many are asked for nothing without a reason.
    pub(crate) reason: Option<&'a str>,
    /// Whether it ends before the first is asked for.
    pub(crate) dry_run: bool,
    /// Whether they come from a file.
    pub(crate) is_file: bool,
    pub(crate) items: Vec<Item>,
}

/// What became of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    /// It may have been taken, or it was not the time to ask.
    NotKnown,
}

impl Outcome {
    fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Done,
            408 | 429 | 500.. => Self::NotKnown,
            _ => Self::Refused,
        }
    }

    /// Its name in JSON.
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::NotKnown => "not_known",
        }
    }
}

/// How many came to what.
#[derive(Default)]
struct Counts {
    done: usize,
    refused: usize,
    not_known: usize,
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::NotKnown => self.not_known += 1,
        }
    }

    fn text(&self, all: usize) -> String {
        let Self { done, refused, not_known } = self;
        let left = all - done - refused - not_known;
        let mut text = format!("{done} of {all} done");
        for (count, what) in
            [(refused, "refused"), (not_known, "not known"), (&left, "not asked for")]
        {
            if *count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text
    }
}

/// Asks for one thing as always, or for each of many, and says what became of each.
///
/// # Errors
/// When one was refused, or it is not known of one, or the server cannot be reached.
pub(crate) async fn send(
    server: &ServerArgs,
    bulk: &Bulk<'_>,
    request: &impl Serialize,
    done: &str,
) -> Result<(), Failure> {
    if let ([item], false, false) = (bulk.items.as_slice(), bulk.is_file, bulk.dry_run) {
        return server
            .send(&item.path, request, &format!("{} {} {done}", bulk.what, item.name))
            .await;
    }
    let (all, what, verb) = (bulk.items.len(), bulk.what, bulk.verb);
    let Some(reason) = bulk.reason else {
        let message = format!("{verb} of {all} {what}s needs a reason");
        return Err(Failure::new(Exit::Usage, message).remedy("say why with --reason"));
    };
    output::complain(&format!("{verb} of {all} {what}s, because: {reason}\n"));
    if bulk.dry_run {
        let names: Vec<&str> = bulk.items.iter().map(|item| item.name.as_str()).collect();
        return output::line(&names.join("\n"));
    }
    let (counts, broken) = ask_each(server, &bulk.items, request, done).await?;
    let text = counts.text(all);
    if let Some(failure) = broken {
        return Err(Failure::new(Exit::Unreachable, format!("{text}: {}", failure.sentence()))
            .remedy("look at those that are not known, then run it again: a run keeps its end, and a letter that \
                     was closed is refused"));
    }
    match counts.done == all {
        true => output::line_unless(server.json, &text),
        false => Err(Failure::new(Exit::Failed, text).remedy("see the lines above for each")),
    }
}

/// Asks for each and prints what became of it. Once the server cannot be reached nothing more is begun, and what was
/// on its way is waited for.
async fn ask_each(
    server: &ServerArgs,
    items: &[Item],
    request: &impl Serialize,
    done: &str,
) -> Result<(Counts, Option<Failure>), Failure> {
    let body = serde_json::to_vec(request)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let (client, content) = (Client::new(server), Content::json(body));
    let goes_on = AtomicBool::new(true);
    let ask = |item: &Item| {
        let (client, content, path) = (client.clone(), content.clone(), item.path.clone());
        let goes_on = &goes_on;
        async move {
            if !goes_on.load(Ordering::Relaxed) {
                return None;
            }
            Some(client.ask(Method::POST, &path, Some(content), &[]).await)
        }
    };
    let mut answers = stream::iter(items.iter().map(ask)).buffered(AT_ONCE);
    let (mut counts, mut broken) = (Counts::default(), None);
    for item in items {
        let Some(answer) = answers.next().await.flatten() else { continue };
        let outcome = answer.as_ref().map_or(Outcome::NotKnown, |of| Outcome::of(of.status));
        output::line(&told(server.json, item, outcome, (answer.as_ref(), done)))?;
        counts.add(outcome);
        if let Err(failure) = answer {
            goes_on.store(false, Ordering::Relaxed);
            broken = Some(failure);
        }
    }
    Ok((counts, broken))
}

/// What became of one.
fn told(
    json: bool,
    item: &Item,
    outcome: Outcome,
    (answer, done): (Result<&Answer, &Failure>, &str),
) -> String {
    let name = &item.name;
    let why = || match answer {
        Ok(answer) => failure_of(answer, false).sentence(),
        Err(failure) => failure.sentence(),
    };
    if json {
        let said = match answer {
            Ok(answer) => serde_json::from_str(&answer.text).unwrap_or(Value::Null),
            Err(_) => Value::String(why()),
        };
        return json!({"item": name, "outcome": outcome.word(), "answer": said}).to_string();
    }
    match outcome {
        Outcome::Done => format!("{name}  {done}"),
        Outcome::Refused => format!("{name}  refused: {}", why()),
        Outcome::NotKnown => format!("{name}  not known: {}", why()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_taken_is_not_called_refused() {
        let mut counts = Counts::default();
        for status in [200, 201, 404, 409, 422, 408, 429, 500, 503] {
            counts.add(Outcome::of(status));
        }
        assert_eq!(counts.text(11), "2 of 11 done, 3 refused, 4 not known, 2 not asked for");
        assert_eq!(Counts { done: 3, ..Counts::default() }.text(3), "3 of 3 done");
    }

    #[test]
    fn each_is_chosen_once_in_its_order_and_nothing_is_a_mistake() {
        let names = |of: &[&str]| of.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(chosen(&names(&["b", "a", "b"]), None).unwrap(), names(&["b", "a"]));
        assert_eq!(chosen(&[], None).unwrap_err().exit(), Exit::Usage);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "b\n\n a \r\nb\n").unwrap();
        assert_eq!(chosen(&[], Some(file.path())).unwrap(), names(&["b", "a"]));
        assert_eq!(chosen(&names(&["b"]), Some(file.path())).unwrap_err().exit(), Exit::Usage);
        std::fs::write(file.path(), "\n").unwrap();
        assert_eq!(chosen(&[], Some(file.path())).unwrap_err().exit(), Exit::Usage);
    }
}
