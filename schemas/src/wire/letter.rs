//! The record of `avro/dead_letter.avsc`, field for field, and its typed form.

use super::{
    Sum, Symbol, Text, Time,
    form::{Blob, wire_record},
    long,
    take::{count, unknown, whole},
};
use crate::{
    self as typed, Error, ErrorClass, LetterAttempt, LetterSource, RecordClass, Result, RunKey,
    StepKey,
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IntoDeserializer};
use std::borrow::Cow;

wire_record! {
    #[derive(Default)]
    DeadLetter<'a> as "DeadLetter" {
        letter_id: Sum,
        class: Symbol<AnyClass>,
        code: Text<'a>,
        message: Text<'a>,
        dead_at: Time,
        topic: Text<'a>,
        partition: i64,
        offset: i64,
        #[serde(default)]
        key: Option<Blob<'a>>,
        #[serde(default)]
        headers: Vec<Header<'a>>,
        #[serde(default)]
        value: Option<Blob<'a>>,
        #[serde(default)]
        step: Option<DeadStep<'a>>,
    }
}

wire_record! {
    Header<'a> as "Header" {
        name: Text<'a>,
        value: Blob<'a>,
    }
}

wire_record! {
    DeadStep<'a> as "DeadStep" {
        tenant: Text<'a>,
        run_id: Text<'a>,
        scope: Text<'a>,
        name: Text<'a>,
        occurrence: i64,
        generation: i64,
        policy: Text<'a>,
        #[serde(default)]
        attempts: Vec<Attempt<'a>>,
        #[serde(default)]
        attempts_omitted: i64,
    }
}

wire_record! {
    Attempt<'a> as "Attempt" {
        attempt: i64,
        started_at: Time,
        ended_at: Time,
        class: Symbol<ErrorClass>,
        code: Text<'a>,
        message: Text<'a>,
    }
}

/// Both sets of classes in one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AnyClass {
    Step(ErrorClass),
    Record(RecordClass),
}

impl Serialize for AnyClass {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Step(class) => class.serialize(to),
            Self::Record(class) => class.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for AnyClass {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        type Name<'a, E> = serde::de::value::StrDeserializer<'a, E>;
        let name = Cow::<'de, str>::deserialize(from)?;
        let record: Name<'_, D::Error> = (&*name).into_deserializer();
        if let Ok(class) = RecordClass::deserialize(record) {
            return Ok(Self::Record(class));
        }
        let step: Name<'_, D::Error> = (&*name).into_deserializer();
        ErrorClass::deserialize(step).map(Self::Step)
    }
}

impl<'a> From<&'a typed::DeadLetter> for DeadLetter<'a> {
    fn from(letter: &'a typed::DeadLetter) -> Self {
        let (class, step) = match &letter.source {
            LetterSource::Record { class } => (AnyClass::Record(*class), None),
            LetterSource::Step { class, .. } => {
                (AnyClass::Step(*class), DeadStep::of(&letter.source))
            }
        };
        let header = |(name, value): &'a (String, Bytes)| Header {
            name: Cow::Borrowed(name),
            value: Blob(Cow::Borrowed(value)),
        };
        Self {
            letter_id: Sum(letter.letter_id),
            class: Symbol::Known(class),
            code: Cow::Borrowed(&letter.code),
            message: Cow::Borrowed(&letter.message),
            dead_at: Time(letter.dead_at),
            topic: Cow::Borrowed(&letter.topic),
            partition: i64::from(letter.partition),
            offset: long(letter.offset),
            key: letter.key.as_deref().map(|key| Blob(Cow::Borrowed(key))),
            headers: letter.headers.iter().map(header).collect(),
            value: letter.value.as_deref().map(|value| Blob(Cow::Borrowed(value))),
            step,
        }
    }
}

impl<'a> DeadStep<'a> {
    fn of(source: &'a LetterSource) -> Option<Self> {
        let LetterSource::Step {
            run, step, generation, policy, attempts, attempts_omitted, ..
        } = source
        else {
            return None;
        };
        Some(Self {
            tenant: Cow::Borrowed(&run.tenant),
            run_id: Cow::Borrowed(&run.run_id),
            scope: Cow::Borrowed(&step.scope),
            name: Cow::Borrowed(&step.name),
            occurrence: i64::from(step.occurrence),
            generation: i64::from(*generation),
            policy: Cow::Borrowed(policy),
            attempts: attempts.iter().map(Attempt::from).collect(),
            attempts_omitted: i64::from(*attempts_omitted),
        })
    }

    fn into_source(self, class: ErrorClass) -> Result<LetterSource> {
        let run = RunKey { tenant: self.tenant.into(), run_id: self.run_id.into() };
        let occurrence = count("step.occurrence", self.occurrence)?;
        let step = StepKey { scope: self.scope.into(), name: self.name.into(), occurrence };
        Ok(LetterSource::Step {
            run,
            step,
            class,
            generation: count("step.generation", self.generation)?,
            policy: self.policy.into_owned(),
            attempts: self.attempts.into_iter().map(Attempt::into_typed).collect::<Result<_>>()?,
            attempts_omitted: count("step.attempts_omitted", self.attempts_omitted)?,
        })
    }
}

impl<'a> From<&'a LetterAttempt> for Attempt<'a> {
    fn from(attempt: &'a LetterAttempt) -> Self {
        Self {
            attempt: i64::from(attempt.attempt),
            started_at: Time(attempt.started_at),
            ended_at: Time(attempt.ended_at),
            class: Symbol::Known(attempt.class),
            code: Cow::Borrowed(&attempt.code),
            message: Cow::Borrowed(&attempt.message),
        }
    }
}

impl Attempt<'_> {
    fn into_typed(self) -> Result<LetterAttempt> {
        let Symbol::Known(class) = self.class else { return Err(unknown("step.attempts.class")) };
        Ok(LetterAttempt {
            attempt: count("step.attempts.attempt", self.attempt)?,
            started_at: self.started_at.0,
            ended_at: self.ended_at.0,
            class,
            code: self.code.into_owned(),
            message: self.message.into_owned(),
        })
    }
}

impl DeadLetter<'_> {
    /// The typed letter.
    ///
    /// # Errors
    /// [`Error::UnknownKind`] for a class that is newer than this build, else [`Error::Invalid`]
    /// naming the field.
    pub(crate) fn into_letter(self) -> Result<typed::DeadLetter> {
        let bytes = |blob: Blob<'_>| Bytes::from(blob.0.into_owned());
        let source = match (self.class, self.step) {
            (Symbol::Unknown, _) => return Err(unknown("class")),
            (Symbol::Known(AnyClass::Record(class)), None) => LetterSource::Record { class },
            (Symbol::Known(AnyClass::Step(class)), Some(step)) => step.into_source(class)?,
            (Symbol::Known(AnyClass::Record(_)), Some(_)) => {
                return Err(Error::invalid("step", "is not allowed in a letter about a record"));
            }
            (Symbol::Known(AnyClass::Step(_)), None) => {
                return Err(Error::invalid("step", "is missing"));
            }
        };
        let header = |header: Header<'_>| (header.name.into_owned(), bytes(header.value));
        Ok(typed::DeadLetter {
            letter_id: self.letter_id.0,
            source,
            topic: self.topic.into_owned(),
            partition: count("partition", self.partition)?,
            offset: whole("offset", self.offset)?,
            key: self.key.map(bytes),
            headers: self.headers.into_iter().map(header).collect(),
            value: self.value.map(bytes),
            code: self.code.into_owned(),
            message: self.message.into_owned(),
            dead_at: self.dead_at.0,
        })
    }
}
