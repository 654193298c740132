//! SECURITY.md promises what its tests hold: each requirement has a row, and each test that a row
//! names exists.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::support::say;

/// The requirements by their letters, and how many there are of each.
const REQUIREMENTS: &[(char, usize)] = &[
    ('L', 18),
    ('S', 10),
    ('B', 11),
    ('A', 20),
    ('R', 10),
    ('M', 12),
    ('P', 8),
    ('X', 8),
    ('D', 9),
    ('G', 5),
    ('C', 7),
    ('O', 10),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names of all functions in a folder's Rust files, which is more than its tests: a name that is
/// meant as a test's and is none would still read as nonsense in the table.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for piece in text.split("fn ").skip(1) {
                let name = piece.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
                names.extend(name.map(str::to_owned));
            }
        }
    }
}

/// Id, requirement, and what holds it, of each row.
fn rows(text: &str) -> Vec<[&str; 3]> {
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
            let row = [cells.next()?, cells.next()?, cells.next()?];
            let (letter, number) = row[0].split_at_checked(1)?;
            let known = REQUIREMENTS.iter().any(|(of, _)| letter.starts_with(*of));
            (known && number.parse::<usize>().is_ok()).then_some(row)
        })
        .collect()
}

#[test]
fn each_requirement_has_its_row_and_each_named_test_exists() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut known = BTreeSet::new();
    functions(&root().join("tests/it"), &mut known);
    functions(&root().join("src"), &mut known);
    let rows = rows(&text);
    let expected: Vec<String> = REQUIREMENTS
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")))
        .collect();
    let mut wrong = Vec::new();
    for id in &expected {
        let found = rows.iter().filter(|row| row[0] == id).count();
        if found != 1 {
            wrong.push(format!("{id} has {found} rows"));
        }
    }
    let mut tested = 0;
    for [id, _, held_by] in &rows {
        if held_by.starts_with("later: ") || held_by.starts_with("open: ") {
            continue;
        }
        tested += 1;
        let names: Vec<&str> = held_by.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            wrong.push(format!("{id} names no test and does not say why"));
        }
        wrong.extend(
            names
                .iter()
                .filter(|name| !known.contains(**name))
                .map(|name| format!("{id}: there is no test {name}")),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    say(&format!("{tested} of {} requirements are tested", expected.len()));
}

/// The text under a heading, up to the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let rest = &text[start + 1..];
    &rest[..rest.find("\n## ").unwrap_or(rest.len())]
}

fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What a folder's Rust files do that reaches another machine.
fn calls_out(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return calls_out(&path);
        }
        let text = fs::read_to_string(&path).unwrap();
        let marks = ["outbound::Outbound", ".outbound", "&Visitor", "Letter {"];
        path.extension().is_some_and(|extension| extension == "rs")
            && marks.iter().any(|mark| text.contains(mark))
    })
}

/// Each module that calls another machine has its row, and each row's modules do.
#[test]
fn what_leaves_the_host_is_told() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let section = section(&text, "What leaves the host");
    let told: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|')?.split('|').nth(2))
        .flat_map(quoted)
        .collect();
    // The doors themselves, what puts the parts together, and what its user calls by hand.
    let doors = ["outbound", "mail", "serve", "cli"];
    let calling: BTreeSet<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && calls_out(path))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|name| !doors.contains(&name.as_str()))
        .collect();
    assert_eq!(calling.iter().map(String::as_str).collect::<BTreeSet<_>>(), told);
    for kind in &lux::integrations::provider::KINDS {
        assert!(section.contains(kind.label), "{} can be connected, and is not told", kind.label);
    }
}

/// The settings and commands that it names exist.
#[test]
fn this_page_says_what_to_do() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    assert!(section(&text, "Reporting a weakness").len() > 100);
    let example = fs::read_to_string(root().join("deploy/lux.example.toml")).unwrap();
    for heading in ["What leaves the host", "Hardening", "If something happened"] {
        for word in quoted(section(&text, heading)) {
            if let Some(command) = word.strip_prefix("lux ") {
                let command: Vec<&str> = command.split(' ').chain(["--help"]).collect();
                let shown =
                    Command::new(env!("CARGO_BIN_EXE_lux")).args(&command).output().unwrap();
                assert!(shown.status.success(), "{word}");
            } else if word.starts_with("deploy/") {
                assert!(root().join(word).exists(), "{word}");
            } else if word.starts_with('[') || ["listen", "trusted_proxies"].contains(&word) {
                assert!(example.contains(word), "{word}");
            }
        }
    }
}
