//! From the bytes of a batch to records by partition. Every line is checked before anything is appended.

use super::{
    container,
    door::{self, BadLines, Refused},
};
use crate::{
    App, Code, Problem, Verdicts, ask::DEFAULT_ACTOR, ids, limits::BUFFER_BYTES,
    query::DEFAULT_TENANT,
};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use spine_log::{EventLog, NewRecord};
use spine_schemas::{
    Error, Event, codec,
    json::{self, Defaults},
    keys, limits,
    time::Micros,
};
use spine_store::RunStore;
use std::{cell::Cell, collections::BTreeMap};

/// How the events of a body are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One event a line; empty lines are passed over.
    Lines,
    /// One JSON array.
    Array,
    /// An Avro object container file; its records count like lines.
    Container,
}

/// Asks for a place for bytes beyond those of the body.
pub(super) type Hold<'a> = &'a mut dyn FnMut(usize) -> Result<(), Problem>;

/// Who sent the batch, for what the events leave out.
pub(super) struct Author {
    key: Option<String>,
    fallback: String,
    now: Micros,
}

impl Author {
    pub(super) fn new<L: EventLog, S: RunStore, V: Verdicts>(
        app: &App<L, S, V>,
        key: Option<String>,
    ) -> Self {
        Self { key, fallback: app.fresh_id(), now: app.now() }
    }

    /// An author for tests.
    #[cfg(test)]
    pub(super) fn fixed(key: Option<String>, now: Micros) -> Self {
        Self { key, fallback: "fallback".to_owned(), now }
    }

    /// The identity of an event that has none. With a key it is the same when the batch is sent
    /// again; without one it is like no other.
    fn event_id(&self, line: usize) -> String {
        match &self.key {
            Some(key) => ids::of_line(key, line),
            None => format!("{}-{line}", self.fallback),
        }
    }
}

/// A batch that can be appended.
pub(super) struct Parsed {
    /// Records by partition, in the order of the lines.
    pub(super) batches: BTreeMap<u32, Vec<NewRecord>>,
    /// Line and partition of every event, in order.
    pub(super) places: Vec<(usize, u32)>,
    /// Whether sending the batch again makes no second copy.
    pub(super) dedupe: bool,
}

/// Reads, checks and encodes a batch.
pub(super) fn parse(
    form: Form,
    text: &[u8],
    author: &Author,
    partitions: u32,
    hold: Hold<'_>,
) -> Result<Parsed, Problem> {
    let mut batch = Batch::new(author, partitions, text.len());
    match form {
        Form::Lines => {
            for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
                let line = line.trim_ascii();
                if !line.is_empty() {
                    batch.take(at + 1, |defaults| Ok(json::parse_event(line, defaults)))?;
                }
            }
        }
        Form::Array => {
            let elements = elements(text)?;
            if elements.len() > limits::BATCH_EVENTS {
                return Err(too_many());
            }
            for (at, element) in elements.into_iter().enumerate() {
                let element = element.get().as_bytes();
                batch.take(at + 1, |defaults| Ok(json::parse_event(element, defaults)))?;
            }
        }
        Form::Container => container::read(text, &mut batch, hold)?,
    }
    batch.finish()
}

/// The elements of a JSON array, as text: those that a batch may have, and one more if there are
/// more. They are not read here, so nesting costs no stack.
fn elements(text: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_slice(text) {
        Ok(Elements(elements)) => Ok(elements),
        Err(error) => Err(Problem::new(Code::BadJson, error.to_string())),
    }
}

fn too_many() -> Problem {
    let detail = format!("there are more than {} events", limits::BATCH_EVENTS);
    Problem::new(Code::TooManyEvents, detail)
}

/// The first elements of an array. An element takes two bytes in the text and many times as many
/// here, so that the text alone is no bound.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() <= limits::BATCH_EVENTS {
            match access.next_element()? {
                Some(element) => elements.push(element),
                None => return Ok(Elements(elements)),
            }
        }
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Elements(elements))
    }
}

/// A batch while its lines are read.
pub(super) struct Batch<'a> {
    author: &'a Author,
    partitions: u32,
    parsed: BTreeMap<u32, Vec<NewRecord>>,
    places: Vec<(usize, u32)>,
    invented: Cell<bool>,
    bad: BadLines,
    buffer: Buffer,
    /// Key and partition of the newest run; the lines of a run mostly stand together.
    newest: Option<(Bytes, u32)>,
}

impl<'a> Batch<'a> {
    /// A batch from a body of so many bytes.
    fn new(author: &'a Author, partitions: u32, body_bytes: usize) -> Self {
        Self {
            author,
            partitions,
            parsed: BTreeMap::new(),
            places: Vec::new(),
            invented: Cell::new(false),
            bad: BadLines::default(),
            buffer: Buffer { expected: body_bytes, ..Buffer::default() },
            newest: None,
        }
    }

    /// Takes one event: what `read` makes of it with the defaults, or why it was refused. Its problem
    /// ends the batch.
    pub(super) fn take(
        &mut self,
        line: usize,
        read: impl FnOnce(&Defaults<'_>) -> Result<Result<Event, Error>, Problem>,
    ) -> Result<(), Problem> {
        if self.places.len() >= limits::BATCH_EVENTS {
            return Err(too_many());
        }
        let event_id = || {
            self.invented.set(true);
            self.author.event_id(line)
        };
        let event = read(&Defaults {
            now: self.author.now,
            tenant: DEFAULT_TENANT,
            actor: DEFAULT_ACTOR,
            event_id: &event_id,
        })?;
        let checked = event.map_err(Refused::from).and_then(|event| {
            door::check(&event)?;
            Ok(event)
        });
        if let Err(refused) = checked.and_then(|event| self.keep(line, &event)) {
            self.bad.note(line, refused);
            // Every line counts towards the limit, the bad ones too.
            self.places.push((line, 0));
        }
        Ok(())
    }

    fn keep(&mut self, line: usize, event: &Event) -> Result<(), Refused> {
        self.buffer.encode(event)?;
        let (key, partition) = self.key_of(event);
        let records = self.parsed.entry(partition).or_default();
        // The value is put in when its buffer is full: until then it is only counted.
        records.push(NewRecord { key: Some(key), headers: Vec::new(), value: None });
        self.buffer.places.push((partition, records.len() - 1));
        self.places.push((line, partition));
        if self.buffer.bytes.len() >= BUFFER_BYTES {
            self.buffer.hand_out(&mut self.parsed);
        }
        Ok(())
    }

    fn key_of(&mut self, event: &Event) -> (Bytes, u32) {
        let run_id: &str = event.run_id().map_or("", |run_id| run_id);
        let size = event.tenant.len() + 1 + run_id.len();
        if let Some((key, partition)) = &self.newest {
            let (tenant, rest) = (event.tenant.as_bytes(), run_id.as_bytes());
            let same = key.len() == size && key.starts_with(tenant) && key.ends_with(rest);
            // A tenant holds no slash, so that the first one ends it.
            if same && key[tenant.len()] == b'/' {
                return (key.clone(), *partition);
            }
        }
        let key = Bytes::from(format!("{}/{run_id}", event.tenant));
        let partition = keys::partition_of(&key, self.partitions);
        self.newest = Some((key.clone(), partition));
        (key, partition)
    }

    fn finish(mut self) -> Result<Parsed, Problem> {
        if !self.bad.is_empty() {
            return Err(self.bad.into_problem());
        }
        if self.places.is_empty() {
            return Err(Problem::new(Code::EmptyBody, "there is no event in the body"));
        }
        self.buffer.hand_out(&mut self.parsed);
        let dedupe = self.author.key.is_some() || !self.invented.get();
        Ok(Parsed { batches: self.parsed, places: self.places, dedupe })
    }
}

/// Encoded events that share one allocation.
#[derive(Default)]
struct Buffer {
    /// Bytes that are probably still to come: events are about as large as the text that they come from.
    expected: usize,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Partition and index of the record that each value belongs to.
    places: Vec<(u32, usize)>,
}

impl Buffer {
    fn encode(&mut self, event: &Event) -> Result<(), Refused> {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.expected.min(BUFFER_BYTES));
        }
        codec::encode_into(event, &mut self.bytes)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Gives every record its value, and begins anew.
    fn hand_out(&mut self, to: &mut BTreeMap<u32, Vec<NewRecord>>) {
        assert!(self.ends.len() == self.places.len(), "every value has its record");
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        self.expected = self.expected.saturating_sub(bytes.len());
        let mut start = 0;
        for (end, (partition, index)) in self.ends.drain(..).zip(self.places.drain(..)) {
            let record = to.get_mut(&partition).and_then(|records| records.get_mut(index));
            let record = record.expect("the record was made when its value was encoded");
            record.value = Some(bytes.slice(start..end));
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_elements_are_held_than_a_batch_may_have() {
        let text = |count: usize| format!("[{}]", vec!["[]"; count].join(","));
        let held = |count: usize| elements(text(count).as_bytes()).unwrap().len();
        assert_eq!(held(limits::BATCH_EVENTS), limits::BATCH_EVENTS);
        assert_eq!(held(4 * limits::BATCH_EVENTS), limits::BATCH_EVENTS + 1);
        let cut = text(2 * limits::BATCH_EVENTS);
        assert!(elements(&cut.as_bytes()[..cut.len() - 1]).is_err(), "the rest is read, too");
    }
}
