//! The house rules as a test: sizes, heads, names, lints, arrows, and who may name an adapter.

use spine_tests::{binary::root, substrate};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const ARCHITECTURE_LINES: usize = 250;
const FORBIDDEN_NAMES: [&str; 7] =
    ["manager", "helper", "helpers", "util", "utils", "misc", "common"];
/// What each crate may use of ours in production, as DESIGN 11 draws it.
const ARROWS: [(&str, &[&str]); 8] = [
    ("schemas", &[]),
    ("runs", &["schemas"]),
    ("log", &["schemas"]),
    ("store", &["schemas", "runs"]),
    ("ingest", &["schemas", "runs", "log", "store"]),
    ("workers", &["schemas", "runs", "log", "store"]),
    ("bench", &["schemas", "runs", "log", "store"]),
    ("cli", &["schemas", "runs", "log", "store", "ingest", "workers", "bench"]),
];

/// The files of the repository with this ending, and their text.
fn files(end: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (folder, _) in ARROWS {
        collect(&root().join(folder), end, &mut found);
    }
    collect(&root().join("tests"), end, &mut found);
    let name = |path: &Path| {
        let path = path.strip_prefix(root()).expect("a file of the repository");
        path.display().to_string()
    };
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a text file");
        (name(&path), text)
    };
    found.into_iter().map(read).collect()
}

fn collect(dir: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, end, found);
        } else if path.extension().is_some_and(|it| it == end) {
            found.push(path);
        }
    }
}

/// Fails with everything that is wrong at once.
fn none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    if substrate::is_without_files("the text of the repository is the same") {
        return;
    }
    let (mut long, mut headless) = (Vec::new(), Vec::new());
    for (name, text) in files("rs") {
        let lines = text.lines().count();
        if lines > FILE_LINES {
            long.push(format!("{name}: {lines} lines"));
        }
        if !text.starts_with("//! ") {
            headless.push(name);
        }
    }
    none("at most 600 lines", &long);
    none("every file opens with //!", &headless);
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let lines = text.lines().count();
    assert!(lines <= ARCHITECTURE_LINES, "ARCHITECTURE.md has {lines} lines");
}

/// The functions of a formatted file, with their lines: from the line of `fn` to the closing brace
/// at the same depth.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line.trim_start()) else { continue };
        let closes = format!("{}}}", " ".repeat(indent));
        let ends = lines[at..].iter().position(|line| *line == closes);
        let declared = lines[at..].iter().position(|line| line.trim_end().ends_with(';'));
        let opens = lines[at..].iter().position(|line| line.trim_end().ends_with('{'));
        if let (Some(ends), Some(opens)) = (ends, opens)
            && declared.is_none_or(|declared| opens < declared)
        {
            found.push((name.to_owned(), ends + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    if let Some(after) = rest.strip_prefix("pub") {
        rest = match after.strip_prefix('(') {
            Some(scope) => scope.split_once(')')?.1,
            None => after,
        };
    }
    rest = rest.trim_start();
    for word in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

#[test]
fn functions_are_short() {
    if substrate::is_without_files("the text of the repository is the same") {
        return;
    }
    let mut long = Vec::new();
    let mut all = 0;
    for (file, text) in files("rs") {
        for (name, lines) in functions(&text) {
            all += 1;
            if lines > FUNCTION_LINES {
                long.push(format!("{file}: {name} has {lines} lines"));
            }
        }
    }
    assert!(all > 1000, "the counter finds {all} functions only");
    none("at most 70 lines", &long);
}

/// Lower-case words of a name.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter == '-' || letter.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

fn is_forbidden(name: &str) -> bool {
    words(name).iter().any(|word| FORBIDDEN_NAMES.contains(&word.as_str()))
}

#[test]
fn nothing_has_a_name_that_says_nothing() {
    if substrate::is_without_files("the text of the repository is the same") {
        return;
    }
    let mut wrong = Vec::new();
    for (file, text) in files("rs") {
        let stem = Path::new(&file).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if is_forbidden(stem) {
            wrong.push(file.clone());
        }
        for line in text.lines() {
            let mut parts = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
            let kind = parts.next().unwrap_or_default();
            let name = parts.next().unwrap_or_default();
            let is_type = ["struct", "enum", "trait", "type", "mod"].contains(&kind);
            if is_type && is_forbidden(name.trim_end_matches([';', '{', '(', '<'])) {
                wrong.push(format!("{file}: {kind} {name}"));
            }
        }
    }
    none("names that say nothing", &wrong);
}

#[test]
fn lints_are_excepted_with_a_reason_and_nothing_points_at_one_machine() {
    if substrate::is_without_files("the text of the repository is the same") {
        return;
    }
    // In parts, so that this file does not name them.
    let allow = ["#[", "allow("].concat();
    let allow_all = ["#![", "allow("].concat();
    let places = ["home", "work", "Users"].map(|place| format!("\"/{place}/"));
    let mut wrong = Vec::new();
    for (file, text) in files("rs") {
        for (at, line) in text.lines().enumerate() {
            let excepted = line.contains(&allow) || line.contains(&allow_all);
            if excepted || places.iter().any(|place| line.contains(place)) {
                wrong.push(format!("{file}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    for (file, text) in files("toml") {
        let elsewhere = text.lines().any(|line| {
            line.contains("localhost") || line.contains("registry =") || line.contains("\"/")
        });
        if elsewhere {
            wrong.push(format!("{file}: a registry or a path of one machine"));
        }
    }
    none("exceptions without a reason, or paths of one machine", &wrong);
}

/// The names in a section of a manifest.
fn dependencies(folder: &str) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some(name) = line.split(['.', ' ', '=']).next().filter(|it| !it.is_empty()) {
            sections.entry(section.clone()).or_default().push(name.to_owned());
        }
    }
    sections
}

#[test]
fn crates_see_only_what_lies_below_them() {
    if substrate::is_without_files("the text of the repository is the same") {
        return;
    }
    let mut wrong = Vec::new();
    for (folder, below) in ARROWS {
        let sections = dependencies(folder);
        for name in sections.get("dependencies").into_iter().flatten() {
            let ours = name.strip_prefix("spine-");
            if ours.is_some_and(|ours| !below.contains(&ours)) {
                wrong.push(format!("{folder} uses {name}"));
            }
            let runtime = ["tokio", "axum", "hyper", "rusqlite"].contains(&name.as_str());
            if runtime && (folder == "runs" || folder == "schemas") {
                wrong.push(format!("{folder} is pure and uses {name}"));
            }
        }
        for name in sections.get("dev-dependencies").into_iter().flatten() {
            let other = [("ingest", "spine-workers"), ("workers", "spine-ingest")];
            if other.contains(&(folder, name.as_str())) {
                wrong.push(format!("{folder} tests with {name}"));
            }
        }
    }
    none("arrows of DESIGN 11", &wrong);
}

#[test]
fn one_file_names_the_adapters() {
    if substrate::is_without_files("the text of the repository is the same") {
        return;
    }
    let mut wrong = Vec::new();
    for (file, text) in files("rs") {
        let above =
            ["bench/", "cli/", "ingest/", "workers/"].iter().any(|folder| file.starts_with(folder));
        let is_test = file.contains("/tests/") || file.ends_with("/tests.rs");
        let names = ["EmbeddedLog", "KafkaLog", "SqliteStore", "CqlStore", "rusqlite"]
            .iter()
            .any(|it| text.contains(it));
        if above && !is_test && names && !file.starts_with("cli/src/adapters") {
            wrong.push(file);
        }
    }
    none("only cli/src/adapters names the adapters", &wrong);
}
