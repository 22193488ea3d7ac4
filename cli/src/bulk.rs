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
use std::{collections::BTreeSet, path::Path};

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

/// Asks for one thing as always, or for each of many, and says what became of each.
///
/// # Errors
/// When one was refused, or the server cannot be reached.
pub(crate) async fn send(
    server: &ServerArgs,
    items: &[Item],
    request: &impl Serialize,
    (what, done): (&str, &str),
) -> Result<(), Failure> {
    if let [item] = items {
        return server.send(&item.path, request, &format!("{what} {} {done}", item.name)).await;
    }
    let body = serde_json::to_vec(request)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let (client, content) = (Client::new(server), Content::json(body));
    let ask = |item: &Item| {
        let (client, content, path) = (client.clone(), content.clone(), item.path.clone());
        async move { client.ask(Method::POST, &path, Some(content), &[]).await }
    };
    let mut answers = stream::iter(items.iter().map(ask)).buffered(AT_ONCE);
    let mut refused = 0;
    for (at, item) in items.iter().enumerate() {
        let answer = match answers.next().await {
            Some(Ok(answer)) => answer,
            Some(Err(failure)) => return Err(stopped(&failure, at, &items[at..])),
            None => break,
        };
        refused += usize::from(!is_granted(&answer));
        output::line(&told(server.json, item, &answer, done))?;
    }
    let all = items.len();
    match refused {
        0 => output::line_unless(server.json, &format!("{all} done")),
        refused => {
            let message = format!("{} of {all} done, {refused} refused", all - refused);
            Err(Failure::new(Exit::Failed, message).remedy("see the lines above for each"))
        }
    }
}

fn is_granted(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

/// What became of one.
fn told(json: bool, item: &Item, answer: &Answer, done: &str) -> String {
    let is_granted = is_granted(answer);
    if json {
        let said: Value = serde_json::from_str(&answer.text).unwrap_or(Value::Null);
        return json!({"item": item.name, "done": is_granted, "answer": said}).to_string();
    }
    match is_granted {
        true => format!("{}  {done}", item.name),
        false => format!("{}  refused: {}", item.name, failure_of(answer, false).sentence()),
    }
}

/// Those behind may have been asked for already.
fn stopped(failure: &Failure, at: usize, rest: &[Item]) -> Failure {
    let name = rest.first().map(|item| item.name.as_str()).unwrap_or_default();
    let message = format!("stopped at {name}, after {at}: {}", failure.sentence());
    Failure::new(Exit::Unreachable, message)
        .remedy("run it again with the same names: what is done already stays as it is")
}

#[cfg(test)]
mod tests {
    use super::*;

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
