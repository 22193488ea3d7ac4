//! Arguments: what is taken, what contradicts itself, which addresses and adapters there are.

use super::*;
use crate::adapters::{LogUrl, StoreUrl};
use clap::{CommandFactory, error::ErrorKind};

fn parse(line: &str) -> Result<Spine, clap::Error> {
    Spine::try_parse_from(std::iter::once("spine").chain(line.split_whitespace()))
}

fn refusal(line: &str) -> ErrorKind {
    match parse(line) {
        Ok(_) => panic!("'spine {line}' was taken"),
        Err(error) => error.kind(),
    }
}

#[test]
fn the_commands_are_consistent() {
    Spine::command().debug_assert();
}

#[test]
fn the_commands_of_the_acceptance_are_taken() {
    for line in [
        "serve --listen 127.0.0.1:0 --log embedded:d/log --store sqlite:d/store.db",
        "dead-letters redrive 3f --server http://127.0.0.1:7700 --reason fixed --json",
        "dead-letters discard 3f --then skip --reason gone",
        "dead-letters list --all --tenant acme",
        "events append - --idempotency-key k",
        "events tail --run r1 --from 3 --limit 5 --follow",
        "events tail --log embedded:d/log --partition 1",
        "runs start plan.json --json",
        "runs list --status waiting --workflow w --tenant t --limit 5",
        "runs show r1 --tenant t",
        "runs why r1",
        "steps resolve r1 pay --happened --reason saw",
        "steps resolve r1 b/pay#2 --not --reason saw",
        "replay --log embedded:d/log --to fresh.db --until 10 --compare d/store.db --json",
        "demo --simulate-failures 5 --json",
        "serve --log kafka://h:9092/p --store cql://h:9042/k --roles workers --advertise h:1",
        "serve --log kafka://h/p --store sqlite:s.db --take-over",
        "topics create --log kafka://h,i/p?security.protocol=ssl --replication 3 --min-insync 2",
        "topics show",
        "topics resume --partition 3 --reason seen",
        "stores switch --store cql://h/k --to k2 --reason rebuilt",
        "stores remove --store cql://h/k --yes",
        "replay --log kafka://h/p --to cql://h/k2 --compare cql://h/k",
        "exit-codes",
    ] {
        assert!(parse(line).is_ok(), "'spine {line}' was refused");
    }
}

#[test]
fn contradictions_are_refused() {
    use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, ValueValidation};
    for (line, kind) in [
        ("steps resolve r s --reason x", MissingRequiredArgument),
        ("steps resolve r s --happened --not --reason x", ArgumentConflict),
        ("steps resolve r s --not --output f --reason x", ArgumentConflict),
        ("steps resolve r s --happened", MissingRequiredArgument),
        ("dead-letters redrive 3f", MissingRequiredArgument),
        ("dead-letters discard 3f --then maybe --reason x", InvalidValue),
        ("dead-letters list --all --status open", ArgumentConflict),
        ("events tail --run r --log embedded:d", ArgumentConflict),
        ("events tail --run r --limit 0", ValueValidation),
        ("runs list --limit 1001", ValueValidation),
        ("runs show r --server https://h:1", ValueValidation),
        ("serve --log kafka:h", ValueValidation),
        ("serve --store cql://h:9042", ValueValidation),
        ("serve --roles everything", InvalidValue),
        ("topics create --log kafka://h --partitions 0", ValueValidation),
        ("topics resume --partition 0", MissingRequiredArgument),
        ("stores switch --store cql://h/k --to k2", MissingRequiredArgument),
        ("serve --listen everywhere", ValueValidation),
        ("serve --partitions 0", ValueValidation),
        ("serve --log-format xml", InvalidValue),
        ("demo --simulate-failures 100", ValueValidation),
    ] {
        assert_eq!(refusal(line), kind, "spine {line}");
    }
}

#[test]
fn a_url_names_one_adapter() {
    let log = |text: &str| text.parse::<LogUrl>();
    let store = |text: &str| text.parse::<StoreUrl>();
    assert_eq!(log("embedded:/a/b"), Ok(LogUrl::Embedded("/a/b".into())));
    assert_eq!(store("sqlite:x.db"), Ok(StoreUrl::Sqlite("x.db".into())));
    assert!(matches!(log("kafka://h:9092/p"), Ok(LogUrl::Kafka(_))));
    assert!(matches!(store("cql://h:9042/k"), Ok(StoreUrl::Cql(_))));
    for wrong in ["", "embedded", "embedded:", "/a/b", "sqlite:x.db"] {
        assert!(log(wrong).is_err(), "{wrong} was taken as a log");
    }
    for wrong in ["", "sqlite:", "embedded:d"] {
        assert!(store(wrong).is_err(), "{wrong} was taken as a store");
    }
}

#[test]
fn exit_codes_are_documented_and_distinct() {
    let table = exit::table();
    for number in 0..=7 {
        assert!(table.contains(&format!("\n  {number}  ")), "{number} is not in the table");
    }
}

#[test]
fn only_the_loopback_may_be_listened_on() {
    let check = |address: &str| serve::check_listen(address.parse().unwrap());
    for fine in ["127.0.0.1:7700", "127.9.9.9:0", "[::1]:7700", "[::ffff:127.0.0.1]:1"] {
        assert!(check(fine).is_ok(), "{fine} was refused");
    }
    for open in ["0.0.0.0:0", "[::]:7700", "192.168.0.1:7700", "[::ffff:10.0.0.1]:1"] {
        assert_eq!(check(open).unwrap_err().exit(), Exit::Refused, "{open} was taken");
    }
}
