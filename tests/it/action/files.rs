//! Off until configured, and by nobody but root and Lux's own user.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

use lux::repair::action::Status;
use serde_json::Value;

use super::{HERE, Rig, script, toml};
use crate::support::{Database, Setup, lux, run};

fn doctor(folder: &Path, text: &str) -> Value {
    fs::write(folder.join("lux.toml"), text).unwrap();
    run(lux(folder).args(["doctor", "--json"])).json()
}

fn check(report: &Value) -> &Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "actions").unwrap()
}

#[tokio::test]
async fn off_until_switched_on() {
    let setup = Setup::new(&Database::sqlite());
    let folder = setup.folder().to_owned();
    let text = toml(&folder, &script(&folder, "mend", "echo x >> $HERE/ran", ""));
    let server = setup.toml(&text.replace("actions = true", "")).start().await;
    let library = super::Library::of(&server).await;
    let rig = Rig { server, library };
    let offered = rig.offered("mend").await;
    assert!(!offered.possible && offered.blocked.as_ref().unwrap().contains("actions = true"));
    let why = rig.actions().propose(HERE, 1, 1, &offered, "test").await.unwrap_err();
    assert!(why.to_string().contains("actions = true"), "{why}");
    let health = rig.server.get("/api/diagnostics/health").await;
    let part = &health["health"]["parts"]["actions"];
    assert!(part["detail"].as_str().unwrap().contains("actions are off"), "{part:#}");
    let report = run(rig.server.command().args(["doctor", "--json"])).json();
    assert!(check(&report)["detail"].as_str().unwrap().starts_with("off; 1 are listed"));
}

#[tokio::test]
async fn switched_off_again_nothing_approved_runs() {
    let mut rig =
        Rig::start(&Database::sqlite(), |folder| script(folder, "mend", "echo x >> $HERE/ran", ""))
            .await;
    let approved = rig.propose("mend", 1).await;
    assert_eq!(approved.status, Status::Approved);
    let file = rig.server.folder().join("lux.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("actions = true", "actions = false")).unwrap();
    rig.library = super::Library::of(&rig.server).await;
    let why = rig.actions().execute(HERE, approved.id, "test").await.unwrap_err();
    assert!(why.to_string().contains("actions are off"), "{why}");
    assert_eq!(rig.lines("ran"), 0);
}

#[tokio::test]
async fn a_file_that_others_may_write_lists_nothing_that_runs() {
    let folder = tempfile::Builder::new().prefix("lux-actions").tempdir().unwrap();
    let folder = folder.path();
    let text = toml(folder, &script(folder, "mend", "exit 0", ""));
    let file = folder.join("lux.toml");
    assert_eq!(check(&doctor(folder, &text))["outcome"], "ok");
    let refused = |how: &str| {
        let report = doctor(folder, &text);
        let check = check(&report);
        assert_eq!(check["outcome"], "fail", "{how}: {check:#}");
        let detail = check["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(how), "{how}: {detail}");
        assert_eq!(report["ok"], false);
    };
    for mode in [0o664, 0o646, 0o622] {
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        refused("chmod go-w");
    }
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    // Who may write the folder can put another file there.
    fs::set_permissions(folder, PermissionsExt::from_mode(0o777)).unwrap();
    refused("chmod go-w");
    fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(check(&doctor(folder, &text))["outcome"], "ok");
    if rustix::process::geteuid().is_root() {
        chown(&file, Some(65_534), None).unwrap();
        refused("chown root");
        chown(&file, Some(0), None).unwrap();
    }
    // The service itself does not run them either.
    let setup = Setup::new(&Database::sqlite());
    let text = toml(setup.folder(), &script(setup.folder(), "mend", "exit 0", ""));
    let file = setup.folder().join("lux.toml");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let server = setup.toml(&text).start().await;
    let library = super::Library::of(&server).await;
    let rig = Rig { server, library };
    let offered = rig.offered("mend").await;
    assert!(!offered.possible && offered.blocked.as_ref().unwrap().contains("may be written"));
    rig.actions().propose(HERE, 1, 1, &offered, "test").await.unwrap_err();
}

#[test]
fn programs_that_cannot_be_trusted_or_found() {
    let folder = tempfile::Builder::new().prefix("lux-actions").tempdir().unwrap();
    let program = folder.path().join("program");
    let said = |mode: u32| {
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(mode)).unwrap();
        let action = format!(
            "[[actions]]\nname = \"it\"\npolicy = \"auto\"\nargv = [\"{}\"]\n",
            program.display()
        );
        let report = doctor(folder.path(), &toml(folder.path(), &action));
        let check = check(&report);
        format!("{} {}", check["outcome"].as_str().unwrap(), check["detail"].as_str().unwrap())
    };
    assert!(said(0o755).starts_with("ok "));
    assert!(said(0o644).contains("is no program"));
    assert!(said(0o757).contains("may be changed by everybody"));
    let action = "[[actions]]\nname = \"it\"\npolicy = \"auto\"\nargv = [\"no-such-program\"]\n";
    let report = doctor(folder.path(), &toml(folder.path(), action));
    let detail = check(&report)["detail"].as_str().unwrap();
    assert!(detail.contains("no-such-program is not in /usr/local/sbin:"), "{detail}");
}

/// A part of an `[[actions]]` entry, and what must be said about it.
const MISTAKES: &[(&str, &str)] = &[
    ("argv = []", "argv is empty"),
    ("argv = [\"./restart\"]", "depends on a folder"),
    ("argv = [\"{unit}\"]\nparams = { unit = { one_of = [\"a\"] } }", "cannot be a parameter"),
    ("argv = [\"true\", \"{unit}\"]", "which params does not define"),
    (
        "argv = [\"true\", \"--unit={unit}\"]\nparams = { unit = { one_of = [\"a\"] } }",
        "must be an argument of its own",
    ),
    (
        "argv = [\"sh\", \"-c\", \"{unit}\"]\nparams = { unit = { one_of = [\"a\"] } }",
        "run as a script",
    ),
    ("argv = [\"true\", \"a\\nb\"]", "control character"),
    ("argv = [\"true\"]\nparams = { unit = { one_of = [\"a\"] } }", "is not used"),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = {} }", "exactly one of"),
    (
        "argv = [\"true\", \"{a}\"]\nparams = { a = { one_of = [\"x\"], int = [1, 2] } }",
        "exactly one of",
    ),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = { one_of = [] } }", "one_of is empty"),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = { one_of = [\"--force\"] } }", "begins with -"),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = { int = [-1, 2] } }", "cannot be negative"),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = { int = [3, 2] } }", "is empty"),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = { matches = \"[a-z]+\" } }", "must begin with ^"),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = { matches = '^a\\$' } }", "must begin with ^"),
    (
        "argv = [\"true\", \"{a}\"]\nparams = { a = { matches = \"^a)|(b$\" } }",
        "no valid expression",
    ),
    ("argv = [\"true\", \"{a}\"]\nparams = { a = { matches = \"^[a$\" } }", "no valid expression"),
    (
        "argv = [\"true\", \"{a}\"]\nparams = { a = { one_of = [\"x\"], default = \"y\" } }",
        "the default is not one of x",
    ),
    (
        "argv = [\"true\", \"{a}\"]\nparams = { a = { int = [1, 5], default = 9 } }",
        "the default is not",
    ),
    (
        "argv = [\"true\", \"{a}\"]\nparams = { a = { one_of = [\"x\"], default = \"x\", from = \"u\" } }",
        "exclude each other",
    ),
    (
        "argv = [\"true\", \"{a}\"]\nparams = { a = { one_of = [\"x\"], from = \"A B\" } }",
        "captured value",
    ),
    ("argv = [\"true\"]\nenv = { PATH = \"/tmp\" }", "PATH is fixed"),
    ("argv = [\"true\"]\nenv = { \"A B\" = \"x\" }", "no name of a variable"),
    ("argv = [\"true\"]\ntimeout = \"0s\"", "timeout must be a time"),
    ("argv = [\"true\"]\ntimeout = \"soon\"", "timeout \"soon\" is no duration"),
    ("argv = [\"true\"]\ncooldown = \"1y\"", "cooldown must be a time"),
    ("argv = [\"true\"]\nmax_per_day = 0", "max_per_day must be"),
    ("argv = [\"true\"]\nundo = \"nothing\"", "names no action"),
    ("argv = [\"true\"]\nundo = \"m29\"", "names the action itself"),
    ("argv = [\"true\"]\nverify = [\"nothing\"]", "define it in [[probes]]"),
    ("argv = [\"true\"]\nuser = \"no-such-user\"", "user = \"no-such-user\""),
    ("argv = [\"true\"]\nrisk = \"some\"", "unknown variant"),
    ("argv = [\"true\"]\nshell = true", "unknown field"),
];

#[test]
fn all_mistakes_of_all_entries_are_told_at_once() {
    let folder = tempfile::Builder::new().prefix("lux-actions").tempdir().unwrap();
    let entries = MISTAKES.iter().enumerate().map(|(index, (entry, _))| {
        format!("[[actions]]\nname = \"m{index}\"\npolicy = \"approve\"\n{entry}\n")
    });
    let entries: String = entries.collect();
    let report = doctor(folder.path(), &toml(folder.path(), &entries));
    let mistakes = report["mistakes"].as_array().unwrap();
    for (index, (entry, said)) in MISTAKES.iter().enumerate() {
        let key = format!("actions \"m{index}\"");
        let of: Vec<_> = mistakes.iter().filter(|mistake| mistake["key"] == *key).collect();
        let found = of.iter().any(|it| it["problem"].as_str().unwrap().contains(said));
        assert!(found, "{entry}: {said:?} is not in {of:#?}");
    }
    // The service does not start with them.
    let said = run(lux(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]));
    assert!(said.code != Some(0) && said.err.contains("one_of is empty"), "{said:?}");
}

#[tokio::test]
async fn a_command_can_run_as_another_user() {
    if !rustix::process::geteuid().is_root() {
        let folder = tempfile::Builder::new().prefix("lux-actions").tempdir().unwrap();
        let action = script(folder.path(), "who", "id", "user = \"root\"");
        let report = doctor(folder.path(), &toml(folder.path(), &action));
        assert!(report["mistakes"].to_string().contains("needs Lux to run as root"), "{report:#}");
        return;
    }
    let rig = Rig::start(&Database::sqlite(), |_| {
        "[[actions]]\nname = \"who\"\nargv = [\"id\"]\npolicy = \"auto\"\nuser = \"nobody\"\n\
         fixes = [\"who\"]\n"
            .to_owned()
    })
    .await;
    let run = rig.run("who", 1).await;
    assert_eq!(run.status, Status::Succeeded, "{run:?}");
    assert_eq!(run.run_as.as_deref(), Some("nobody"));
    let output = run.output.unwrap();
    assert!(
        output.starts_with("uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)"),
        "{output}"
    );
}
