//! What a command gets and leaves: argv, environment, output, exit code.

use std::{collections::BTreeMap, fs};

use lux::{
    config::{Config, Overrides},
    diagnose::Captured,
    repair::action::{Catalogue, Status},
};
use proptest::prelude::*;

use super::{HERE, Rig, script, toml};
use crate::support::{Database, on_both};

on_both!(a_command_gets_what_is_configured_and_nothing_else);
async fn a_command_gets_what_is_configured_and_nothing_else(database: Database) {
    let look = "pwd; env | sort; echo \"stdin $(wc -c)\"; \
                echo \"group $(ps -o pgid= -p $$ | tr -d ' ') $$\"; \
                echo 'password=hunter2hunter2' >&2; printf 'no end'";
    let rig = Rig::start(&database, |folder| script(folder, "look", look, "")).await;
    let run = rig.run("look", 1).await;
    assert_eq!(run.status, Status::Succeeded, "{run:?}");
    assert_eq!((run.exit_code, run.signal, run.output_dropped), (Some(0), None, 0));
    let output = run.output.clone().unwrap();
    let lines: Vec<&str> = output.lines().collect();
    let here = format!("HERE={}", rig.server.folder().display());
    // `PWD` and `_` are the shell's own.
    let env: Vec<_> = lines
        .iter()
        .filter(|line| line.contains('=') && !line.starts_with("PWD=") && !line.starts_with("_="))
        .collect();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(env[..3], [&here.as_str(), &"LANG=C.UTF-8", &path], "{output}");
    assert!(lines[0] == "/" && lines.contains(&"stdin 0") && lines.ends_with(&["no end"]));
    let group = lines.iter().find_map(|line| line.strip_prefix("group ")).unwrap();
    let (group, pid) = group.split_once(' ').unwrap();
    assert_eq!(group, pid, "it leads a group of its own");
    assert!(output.contains("password=[redacted]") && !output.contains("hunter"), "{output}");
    assert_eq!(env.len(), 4, "the fourth is the redacted line: {output}");

    // The same by HTTP, with who and when.
    let read = rig.read(run.id).await;
    for (key, value) in [("status", "succeeded"), ("started_by", "test"), ("cause", "look")] {
        assert_eq!(read[key], value, "{read:#}");
    }
    assert_eq!(read["decided_by"], "configuration");
    assert_eq!(read["argv"][0], "/usr/bin/sh");
    assert!(read["started_at"].as_str() <= read["finished_at"].as_str());
    assert!(read["env"] == serde_json::json!(["HERE"]), "{read:#}");

    // Once: the same again is the same run, and executing it again does nothing.
    assert_eq!(rig.propose("look", 1).await.id, run.id);
    let again = rig.actions().execute(HERE, run.id, "test").await.unwrap();
    assert_eq!(again.started_at, run.started_at);
    assert_eq!(rig.actions().of_run(HERE, 1).await.unwrap(), [again]);
}

#[tokio::test]
async fn failures_are_told_as_they_are() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        [
            script(folder, "half-way", "echo one; echo two >&2; exit 3", ""),
            script(folder, "dies", "kill -SEGV $$", ""),
            script(folder, "vanishes", "exit 0", "").replace("\"sh\"", "\"./gone\""),
        ]
        .concat()
        .replace("\"./gone\"", "\"/nonexistent/program\"")
    })
    .await;
    let run = rig.run("half-way", 1).await;
    assert_eq!((run.status, run.exit_code), (Status::Failed, Some(3)), "{run:?}");
    assert_eq!(run.output.as_deref(), Some("one\ntwo\n"));
    let run = rig.run("dies", 1).await;
    assert_eq!((run.status, run.exit_code, run.signal), (Status::Failed, None, Some(11)));
    // A program that is not there is no proposal.
    let offered = rig.offered("vanishes").await;
    assert!(
        !offered.possible && offered.blocked.as_ref().unwrap().contains("/nonexistent/program")
    );
    let refused = rig.actions().propose(HERE, 1, 1, &offered, "test").await.unwrap_err();
    assert!(matches!(refused, lux::error::Error::Conflict(_)), "{refused:?}");
}

#[tokio::test]
async fn a_program_that_goes_away_before_it_runs() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        let program = folder.join("program");
        fs::write(&program, "#!/bin/sh\necho well\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let argv = format!("argv = [\"{}\"]", program.display());
        let name = "name = \"it\"\npolicy = \"auto\"\nfixes = [\"it\"]\n";
        format!("[[actions]]\n{name}{argv}\n")
    })
    .await;
    let proposed = rig.propose("it", 1).await;
    fs::remove_file(rig.server.folder().join("program")).unwrap();
    let run = rig.actions().execute(HERE, proposed.id, "test").await.unwrap();
    assert_eq!((run.status, run.exit_code), (Status::Failed, None));
    assert!(run.detail.as_ref().unwrap().contains("could not be started"), "{run:?}");
}

/// Texts that a shell, a program's options or a terminal could stumble over.
const HOSTILE: [&str; 14] = [
    "a b",
    "'; touch /tmp/x; '",
    "\"",
    "$(id)",
    "`id`",
    "$HOME",
    "a;b",
    "a|b",
    "*",
    "~",
    "{unit}",
    "shop.service evil.service",
    "ünï→",
    "\\",
];
/// Texts that stand in no argv, whatever a rule allows.
const REFUSED: [&str; 8] =
    ["", "-rf", "--help", "a\nb", "a\0b", "a\u{1b}[0m", "a\u{202e}b", "a\rb"];

#[tokio::test]
async fn hostile_values_stay_one_argument() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        let print = "printf '%s\\n' \"$#\"; for a in \"$@\"; do printf '<%s>\\n' \"$a\"; done";
        let more = "params = { unit = { matches = \"^(?s).*$\" } }";
        script(folder, "print", print, more).replace(".sh\"]", ".sh\", \"{unit}\", \"last\"]")
    })
    .await;
    for (index, value) in HOSTILE.iter().enumerate() {
        let known = Captured::from([("unit".to_owned(), vec![(*value).to_owned()])]);
        let offered = rig.actions().for_cause(HERE, "print", &known).await.unwrap();
        let run = i64::try_from(index).unwrap() + 1;
        let proposed = rig.actions().propose(HERE, run, 1, &offered[0], "test").await.unwrap();
        let run = rig.actions().execute(HERE, proposed.id, "test").await.unwrap();
        assert_eq!(run.output.unwrap(), format!("2\n<{value}>\n<last>\n"));
    }
    for value in REFUSED {
        let known = Captured::from([("unit".to_owned(), vec![value.to_owned()])]);
        let offered = rig.actions().for_cause(HERE, "print", &known).await.unwrap();
        assert_eq!(offered, [], "{value:?}");
    }
}

#[tokio::test]
async fn what_was_rendered_cannot_be_changed_on_the_way() {
    let rig = Rig::start(&Database::sqlite(), |folder| {
        [
            script(folder, "mild", "exit 0", ""),
            script(folder, "wild", "exit 0", "policy = \"never\""),
        ]
        .concat()
    })
    .await;
    let mut offered = rig.offered("mild").await;
    "0".repeat(64).clone_into(&mut offered.hash);
    rig.actions().propose(HERE, 1, 1, &offered, "test").await.unwrap_err();
    "no-such-action".clone_into(&mut offered.action);
    rig.actions().propose(HERE, 1, 1, &offered, "test").await.unwrap_err();
    // What is forged into it does not get into what is stored.
    let mut offered = rig.offered("mild").await;
    offered.argv.push("rm".to_owned());
    let stored = rig.actions().propose(HERE, 1, 1, &offered, "test").await.unwrap();
    assert_eq!(stored.argv.0, rig.offered("mild").await.argv);
    let mut never = rig.offered("wild").await;
    assert!(!never.possible);
    never.possible = true;
    never.blocked = None;
    let refused = rig.actions().propose(HERE, 1, 1, &never, "test").await.unwrap_err();
    assert!(refused.to_string().contains("never"), "{refused}");
}

#[test]
fn no_value_changes_the_form_of_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let actions = "
        [[actions]]
        name = \"all\"
        argv = [\"sh\", \"{unit}\", \"between\", \"{count}\", \"{word}\", \"{any}\"]
        policy = \"approve\"
        [actions.params]
        unit = { one_of = [\"shop.service\", \"a b\"] }
        count = { int = [3, 40] }
        word = { matches = \"^[a-z0-9-]{1,32}$\" }
        any = { matches = \"^(?s).*$\" }
    ";
    let file = folder.path().join("lux.toml");
    fs::write(&file, toml(folder.path(), actions)).unwrap();
    let from = Overrides { file: Some(file), ..Overrides::default() };
    let catalogue = Catalogue::new(&Config::load(from).unwrap());
    let text = prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        "[a-z0-9-]{1,32}",
        "[0-9]{1,3}",
        prop::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned),
        prop::sample::select(REFUSED.to_vec()).prop_map(str::to_owned),
        Just("shop.service".to_owned()),
    ];
    let values = prop::collection::vec(text, 4);
    let rendered_some = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(5000), |(values in values)| {
        let names = ["unit", "count", "word", "any"].map(str::to_owned);
        let params: BTreeMap<_, _> = names.into_iter().zip(values.iter().cloned()).collect();
        // Each by itself beside good ones, so that most cases get past the others.
        let good = [("unit", "a b"), ("count", "7"), ("word", "w"), ("any", "x")];
        let good = good.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let good = BTreeMap::from(good);
        for name in params.keys() {
            let mut mixed = good.clone();
            mixed.insert(name.clone(), params[name].clone());
            let Ok(rendered) = catalogue.render("all", "cause", &mixed) else { continue };
            rendered_some.set(rendered_some.get() + 1);
            let (unit, count) = (mixed["unit"].as_str(), mixed["count"].as_str());
            let (word, any) = (mixed["word"].as_str(), mixed["any"].as_str());
            prop_assert_eq!(&rendered.argv, &["/usr/bin/sh", unit, "between", count, word, any]);
            for value in mixed.values() {
                prop_assert!(!value.starts_with('-') && !value.contains(char::is_control));
            }
            prop_assert!(["shop.service", "a b"].contains(&unit));
            prop_assert!((3..=40).contains(&count.parse::<u64>().unwrap()));
            prop_assert!(word.len() <= 32 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        }
    });
    assert!(rendered_some.get() > 5000, "{}", rendered_some.get());
}
