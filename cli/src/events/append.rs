//! `spine events append`: sends a file of events as it is.

use crate::{
    client::{Client, Content, ServerArgs},
    exit::{Exit, Failure},
    json_file, output,
    render::cell::count,
};
use bytes::Bytes;
use serde::Deserialize;
use std::{fmt::Write as _, path::PathBuf};

/// Arguments of `events append`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// NDJSON, one JSON array, or an Avro object container file (- is standard input)
    file: PathBuf,
    /// Makes sending the same file again harmless: events without an id get one from this key and
    /// their line
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
struct Appended {
    appended: u64,
    dedupe: bool,
    positions: Vec<Span>,
}

#[derive(Deserialize)]
struct Span {
    topic: String,
    partition: u32,
    first_offset: u64,
    last_offset: u64,
}

/// Appends the events.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let bytes = json_file::read(&args.file)?;
    if bytes.trim_ascii().is_empty() {
        let message = format!("{} holds no event", json_file::name(&args.file));
        return Err(Failure::new(Exit::Usage, message));
    }
    let key: Vec<(&'static str, &str)> =
        args.idempotency_key.iter().map(|key| ("Idempotency-Key", key.as_str())).collect();
    let client = Client::new(&args.server);
    let answer = client.post_with("/v1/events", content(bytes), &key).await?;
    if args.server.json {
        return output::line(&answer.text);
    }
    let Appended { appended, dedupe, positions } = answer.read()?;
    let mut text = format!("{} appended and durable\n", count(appended, "event"));
    for Span { topic, partition, first_offset, last_offset } in positions {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {topic}/{partition} offsets {first_offset} to {last_offset}");
    }
    if !dedupe {
        text.push_str(
            "  sending this again would append it again; --idempotency-key prevents it\n",
        );
    }
    output::print(&text)
}

/// An array begins with a bracket, a container file with its magic; everything else is one event a
/// line.
fn content(bytes: Bytes) -> Content {
    let media_type = if bytes.starts_with(b"Obj\x01") {
        "application/avro"
    } else if bytes.trim_ascii_start().first() == Some(&b'[') {
        "application/json"
    } else {
        "application/x-ndjson"
    };
    Content { media_type, bytes }
}
