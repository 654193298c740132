//! The layer table, held by a test: a module may use lower layers, and in its own
//! layer only what is named beside it. Modules of later work have their rows ready.

use std::{collections::BTreeSet, fs, path::Path};

/// (layer, module, what it may use in its own layer)
const LAYERS: &[(u8, &str, &[&str])] = &[
    (0, "config", &["error"]),
    (0, "error", &[]),
    (0, "clock", &[]),
    (0, "redact", &[]),
    (1, "db", &[]),
    (1, "outbound", &[]),
    (1, "logs", &["db"]),
    (1, "mail", &[]),
    (1, "seal", &["db"]),
    (2, "app", &["apps", "auth", "jobs", "llm"]),
    (2, "apps", &["auth"]),
    (2, "auth", &[]),
    (2, "jobs", &[]),
    (2, "llm", &["auth"]),
    (2, "http", &["app", "auth"]),
    (3, "errors", &[]),
    (3, "health", &["errors", "integrations", "notify", "repair"]),
    (3, "probe", &[]),
    (3, "deploys", &[]),
    (3, "diagnose", &["deploys", "errors", "probe"]),
    (3, "contacts", &[]),
    (3, "integrations", &["contacts", "errors", "repair"]),
    (3, "notify", &["contacts", "errors", "hooks", "integrations"]),
    (3, "repair", &["diagnose", "errors", "probe"]),
    (3, "hooks", &["contacts", "errors", "repair"]),
    (
        3,
        "marketing",
        &["contacts", "deploys", "diagnose", "errors", "health", "integrations", "probe", "repair"],
    ),
    (3, "statistics", &[]),
    (3, "customers", &["contacts", "diagnose", "errors", "marketing"]),
    (
        3,
        "chat",
        &[
            "health",
            "repair",
            "diagnose",
            "errors",
            "probe",
            "marketing",
            "contacts",
            "integrations",
        ],
    ),
    (4, "dashboard", &[]),
    (4, "web", &["dashboard"]),
    (5, "cli", &["serve"]),
    (5, "serve", &[]),
    (5, "main", &["cli", "serve"]),
    (5, "lib", &[]),
];

#[test]
fn modules_use_only_lower_layers() {
    let mut wrong = Vec::new();
    visit(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut |path, source| {
        let module = module_of(path);
        let Some((layer, _, beside)) = LAYERS.iter().find(|(_, name, _)| *name == module) else {
            wrong.push(format!("{}: {module} has no row in LAYERS", path.display()));
            return;
        };
        for used in uses(source) {
            let allowed = used == module
                || LAYERS.iter().any(|(other, name, _)| *name == used && other < layer)
                || beside.contains(&used.as_str());
            if !allowed {
                wrong.push(format!("{}: {module} may not use {used}", path.display()));
            }
        }
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Lines, addresses and searches come from anybody: an engine that backtracks would let one of them
/// cost minutes.
#[test]
fn expressions_are_linear() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let has = |name: &str| lock.contains(&format!("name = \"{name}\"\n"));
    assert!(has("regex-automata"));
    for engine in ["fancy-regex", "pcre2", "onig", "regress", "hyperscan"] {
        assert!(!has(engine), "{engine} takes expressions whose cost grows faster than a line");
    }
}

/// What the compiler and clippy hold, as long as nobody lets go.
#[test]
fn what_is_forbidden_stays_forbidden() {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let lints = &manifest["lints"];
    assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for lint in ["unwrap_used", "dbg_macro", "todo", "allow_attributes"] {
        assert_eq!(lints["clippy"][lint].as_str(), Some("deny"), "{lint}");
    }
}

#[test]
fn uses_are_found() {
    let found = uses(
        "use crate::{db::{Db, Tx}, web}; use lux::cli; fn f(x: crate::logs::Record) { crate::jobs::run() }",
    );
    assert_eq!(found, BTreeSet::from(["db", "web", "logs", "jobs", "cli"].map(String::from)));
}

/// `src/logs/tail.rs` and `src/logs.rs` both belong to `logs`.
fn module_of(path: &Path) -> String {
    let relative = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn uses(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let starts = source.split("crate::").skip(1).chain(source.split("use lux::").skip(1));
    for rest in starts {
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(ident(rest));
            continue;
        };
        let mut depth = 1;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && c == ',') {
                found.insert(ident(item.trim()));
                item.clear();
            } else {
                item.push(c);
            }
            if depth == 0 {
                break;
            }
        }
    }
    found.remove("");
    found
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn visit(folder: &Path, f: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, f);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            f(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
