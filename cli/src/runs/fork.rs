//! `spine runs fork`: shows what a fork would take over and what would happen again, then makes it.

use super::RunArgs;
use crate::{
    client::{Client, Content},
    exit::{Exit, Failure},
    json_file, output,
    render::{
        cell::step,
        table::{Column, table},
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

/// Arguments of `runs fork`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunArgs,
    /// Why; kept in the event
    #[arg(long)]
    reason: String,
    /// Goes its own way from this step on; without it, from whatever has not ended well
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// Id of the new run; made up without this
    #[arg(long = "run-id", value_name = "ID")]
    new_id: Option<String>,
    /// Another value for a field of a step, as in a plan; may be given often
    #[arg(long, value_name = "STEP.FIELD=JSON")]
    set: Vec<Setting>,
    /// A JSON file with another input of the run
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// A JSON file with another plan: {"steps":[…]}, and "retry" or "deadline_ms" where they differ
    #[arg(long, value_name = "FILE", conflicts_with = "set")]
    plan: Option<PathBuf>,
    /// Another version of the workflow
    #[arg(long, value_name = "VERSION")]
    workflow_version: Option<String>,
    /// Undoes what it took over, too, if the fork is undone
    #[arg(long)]
    undo_reused: bool,
    /// Accepts that effects may happen twice
    #[arg(long)]
    force: bool,
    /// Shows what would happen, and does nothing
    #[arg(long)]
    dry_run: bool,
    /// Who; kept in the event
    #[arg(long, value_name = "NAME", env = "SPINE_ACTOR")]
    actor: Option<String>,
}

/// A field of a step and its new value.
#[derive(Clone, Debug)]
struct Setting {
    step: String,
    field: String,
    value: Box<RawValue>,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "is not STEP.FIELD=JSON, for example refund.input='{\"cents\":500}'";
        let (name, value) = text.split_once('=').ok_or(form)?;
        let (step, field) = name.rsplit_once('.').ok_or(form)?;
        // What is no JSON is meant as text.
        let value = RawValue::from_string(value.to_owned())
            .or_else(|_| serde_json::value::to_raw_value(value))
            .map_err(|error| error.to_string())?;
        Ok(Self { step: step.to_owned(), field: field.to_owned(), value })
    }
}

#[derive(Deserialize)]
struct Forked {
    run_id: String,
    reused: Vec<String>,
    again: Vec<Again>,
    #[serde(default)]
    can_be_undone: Vec<String>,
    undo_reused: bool,
}

#[derive(Deserialize)]
struct Again {
    step: String,
    effect: String,
    happened: String,
    because: String,
    may_repeat: bool,
}

/// Forks the run.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let client = Client::new(&args.of.server);
    let path = args.of.path("/fork");
    if args.of.server.json {
        let answer = client.post(&path, Content::json(body(args, None, args.dry_run)?)).await?;
        return output::line(&answer.text);
    }
    let planned: Forked =
        client.post(&path, Content::json(body(args, None, true)?)).await?.read()?;
    output::print(&text(args, &planned))?;
    if args.dry_run {
        return output::line("nothing was done: this was a dry run");
    }
    if !args.force && planned.again.iter().any(|step| step.may_repeat) {
        let message = "effects may happen twice, since a fork has idempotency keys of its own";
        return Err(Failure::new(Exit::Failed, message)
            .remedy("look at the steps above; --force accepts it, --dry-run only looks"));
    }
    // Under the id that was shown, so that a request that is sent again makes no second fork.
    let real = body(args, Some(&planned.run_id), false)?;
    let made: Forked = client.post(&path, Content::json(real)).await?.read()?;
    output::line(&format!("run {} forked\n  spine runs show {}", made.run_id, made.run_id))
}

/// The request. Values stand in it as they were given, so that numbers keep their literals.
fn body(args: &Args, id: Option<&String>, dry_run: bool) -> Result<String, Failure> {
    let mut fields = Map::new();
    let texts = [
        ("from", &args.from),
        ("run_id", &args.new_id.as_ref().or(id).cloned()),
        ("version", &args.workflow_version),
        ("actor", &args.actor),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            fields.insert(name.to_owned(), Value::String(text.clone()));
        }
    }
    fields.insert("reason".into(), json!(args.reason));
    fields.insert("force".into(), json!(args.force));
    fields.insert("undo_reused".into(), json!(args.undo_reused));
    fields.insert("dry_run".into(), json!(dry_run));
    let mut raw: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    if let Some(input) = &args.input {
        raw.insert("input".into(), json_file::read_json(input)?);
    }
    if let Some(plan) = &args.plan {
        let text = json_file::read_json(plan)?;
        let parts: BTreeMap<String, Box<RawValue>> = read_parts(plan, &text)?;
        let known = ["steps", "retry", "brain", "faults", "deadline_ms", "on_deadline"];
        raw.extend(parts.into_iter().filter(|(name, _)| known.contains(&name.as_str())));
    }
    let mut change: BTreeMap<&str, BTreeMap<&str, &RawValue>> = BTreeMap::new();
    for setting in &args.set {
        change.entry(&setting.step).or_default().insert(&setting.field, &setting.value);
    }
    let failed = |error: serde_json::Error| Failure::new(Exit::Failed, error.to_string());
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in &fields {
        parts.push(format!("\"{name}\":{value}"));
    }
    for (name, value) in &raw {
        parts.push(format!("\"{name}\":{value}"));
    }
    if !change.is_empty() {
        parts.push(format!("\"change\":{}", serde_json::to_string(&change).map_err(failed)?));
    }
    Ok(format!("{{{}}}", parts.join(",")))
}

fn read_parts(
    file: &std::path::Path,
    text: &RawValue,
) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
    serde_json::from_str(text.get()).map_err(|error| {
        let message = format!("{} is not a plan: {error}", json_file::name(file));
        Failure::new(Exit::Usage, message)
    })
}

fn text(args: &Args, planned: &Forked) -> String {
    let names = |steps: &[String]| {
        let names: Vec<&str> = steps.iter().map(|name| step(name)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    let mut text = format!("takes over from {}: {}\n", args.of.run_id, names(&planned.reused));
    if !planned.can_be_undone.is_empty() {
        let (steps, is) =
            (names(&planned.can_be_undone), if planned.undo_reused { "are" } else { "are not" });
        text.push_str(&format!("of that {steps} {is} undone if the fork is (--undo-reused)\n"));
    }
    if planned.again.is_empty() {
        return text;
    }
    let columns = [
        Column::Text("NOT TAKEN OVER"),
        Column::Text("BECAUSE"),
        Column::Text("EFFECT"),
        Column::Text("HAPPENED"),
        Column::Text("TWICE"),
    ];
    let row = |again: &Again| {
        let twice = if again.may_repeat { "may happen twice" } else { "-" };
        vec![
            step(&again.step).to_owned(),
            because(&again.because).to_owned(),
            again.effect.clone(),
            again.happened.clone(),
            twice.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = planned.again.iter().map(row).collect();
    text.push_str(&table(&columns, &rows));
    text
}

fn because(name: &str) -> &str {
    match name {
        "cut" => "the fork begins there",
        "follows" => "it comes after that",
        "unfinished" => "it had not ended well",
        "changed" => "it is given something else",
        "undone" => "it is undone there",
        "dropped" => "the fork has no such step",
        other => other,
    }
}
