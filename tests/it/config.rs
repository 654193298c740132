//! Settings and `lux doctor`: which layer wins, what is told, what is hidden.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::support::{Cluster, Database, Model, Said, Script, Setup, lux, run};

fn doctor(folder: &Path, toml: &str, change: impl FnOnce(&mut Command)) -> (Said, Value) {
    fs::write(folder.join("lux.toml"), toml).unwrap();
    let mut command = lux(folder);
    change(command.args(["doctor", "--json"]));
    let said = run(&mut command);
    let report = said.json();
    (said, report)
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("lux-doctor").tempdir().unwrap()
}

/// One source that is there, so that the logs of this machine do not matter.
fn healthy(folder: &Path) -> String {
    let log = folder.join("app.log");
    fs::write(&log, "fine\n").unwrap();
    format!("[[sources]]\nname = \"app\"\npath = \"{}\"\n", log.display())
}

fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|item| item[key] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {list:#}"))
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    named(&report["checks"], "name", name)
}

#[test]
fn each_layer_beats_the_one_below_and_doctor_says_which() {
    let folder = folder();
    let setting = |toml: &str, change: &dyn Fn(&mut Command)| {
        let toml = format!("{toml}\n{}", healthy(folder.path()));
        let (_, report) = doctor(folder.path(), &toml, |command| change(command));
        let setting = named(&report["settings"], "key", "log.format").clone();
        ["value", "from", "name"].map(|key| setting[key].as_str().unwrap_or("").to_owned())
    };
    let file = "[log]\nformat = \"json\"";
    assert_eq!(setting("", &|_| {})[..2], ["text", "default"]);
    assert_eq!(setting(file, &|_| {}), ["json", "file", "lux.toml"]);
    let environment = |command: &mut Command| {
        command.env("LUX_LOG_FORMAT", "text");
    };
    assert_eq!(setting(file, &environment), ["text", "environment", "LUX_LOG_FORMAT"]);
    let flags = |command: &mut Command| {
        command.env("LUX_LOG_FORMAT", "text").args(["--log-format", "json"]);
    };
    assert_eq!(setting(file, &flags), ["json", "flag", "--log-format"]);
}

#[test]
fn the_file_may_be_named_by_flag_or_environment() {
    let folder = folder();
    let toml = format!("[model]\nname = \"from-elsewhere\"\n{}", healthy(folder.path()));
    fs::write(folder.path().join("other.toml"), toml).unwrap();
    let here = format!("[model]\nname = \"from-here\"\n{}", healthy(folder.path()));
    let name_of = |report: &Value| named(&report["settings"], "key", "model.name")["value"].clone();
    let (_, report) = doctor(folder.path(), &here, |_| {});
    assert_eq!(name_of(&report), "from-here");
    let (_, report) = doctor(folder.path(), &here, |command| {
        command.env("LUX_CONFIG", "other.toml");
    });
    assert_eq!(name_of(&report), "from-elsewhere");
    let (_, report) = doctor(folder.path(), &here, |command| {
        command.args(["--config", "other.toml"]).env("LUX_CONFIG", "absent.toml");
    });
    assert_eq!(name_of(&report), "from-elsewhere");
}

#[test]
fn all_mistakes_come_at_once_with_name_and_remedy() {
    let folder = folder();
    let toml = r#"
        listn = "127.0.0.1:1"
        [http]
        request_timeout = "soon"
        [[sources]]
        name = "both"
        path = "/x.log"
        unit = "x.service"
        [[probes]]
        name = "checkout"
        kind = "http"
        path = "no-slash"
        [schedule]
        timezone = "Mars/Olympus"
    "#;
    let change = |command: &mut Command| {
        command.env("DATABASE_URL", "mysql://somewhere/x").env("PORT", "70000");
        command.env("LUX_LISTN", "x");
    };
    let (said, report) = doctor(folder.path(), toml, change);
    assert_eq!(said.code, Some(1), "{said:?}");
    let mistakes = report["mistakes"].as_array().unwrap();
    for (key, word) in [
        ("listn", "listen"),
        ("http.request_timeout", "30s"),
        ("sources \"both\"", "exactly one"),
        ("probes \"checkout\"", "begins with /"),
        ("schedule.timezone", ""),
        ("database_url", "sqlite:"),
        ("port", ""),
        ("LUX_LISTN", "LUX_LISTEN"),
    ] {
        let found = mistakes.iter().find(|mistake| mistake["key"] == key);
        let problem = found.unwrap_or_else(|| panic!("{key} is not in {mistakes:#?}"))["problem"]
            .as_str()
            .unwrap();
        assert!(!problem.is_empty() && problem.contains(word), "{key}: {problem}");
    }

    // The service refuses to start, telling all of them too.
    let folder = self::folder();
    fs::write(folder.path().join("lux.toml"), toml).unwrap();
    let mut command = lux(folder.path());
    command.arg("serve");
    change(&mut command);
    let said = run(&mut command);
    assert_eq!(said.code, Some(2), "{said:?}");
    for key in ["listn", "http.request_timeout", "both", "database_url", "LUX_LISTN"] {
        assert!(said.err.contains(key), "{key} is not told: {}", said.err);
    }
    assert_eq!(said.out, "");
    assert!(!folder.path().join("data").exists(), "a refused start must change nothing");
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    let folder = folder();
    let (said, report) = doctor(folder.path(), "[log]\nformat = \n", |_| {});
    assert_eq!(said.code, Some(1));
    assert!(report["mistakes"].to_string().contains("line 2"), "{report:#}");
}

#[tokio::test]
async fn secrets_show_nowhere() {
    let folder = folder();
    let model = Model::start(Script::Key("another key")).await;
    let toml = format!(
        "[model]\nkey = \"sk-of-the-file-123456\"\nbase_url = \"{}\"\n{}",
        model.url,
        healthy(folder.path())
    );
    fs::write(folder.path().join("key"), "sk-of-a-file-of-its-own\n").unwrap();
    // Where a secret may stand, and whether the report is for machines.
    for (variable, json) in [
        ("", true),
        ("OPENAI_API_KEY", true),
        ("OPENAI_API_KEY_FILE", false),
        ("DATABASE_URL", false),
    ] {
        fs::write(folder.path().join("lux.toml"), &toml).unwrap();
        let mut command = lux(folder.path());
        command.arg("doctor").args(json.then_some("--json"));
        match variable {
            "OPENAI_API_KEY" => command.env(variable, "sk-of-the-environment"),
            "OPENAI_API_KEY_FILE" => command.env(variable, folder.path().join("key")),
            "DATABASE_URL" => command.env(variable, "postgres://lux:hunter22pass@127.0.0.1:1/lux"),
            _ => &mut command,
        };
        let said = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
        // The key is refused, so doctor fails, and would have had reason to quote it.
        assert_eq!(said.code, Some(1), "{said:?}");
        let shown = format!("{}{}", said.out, said.err);
        for secret in ["sk-of", "of-the-file", "of-the-env", "hunter22"] {
            assert!(!shown.contains(secret), "{secret} shows with {variable}: {shown}");
        }
        assert!(shown.contains("model.key"), "{shown}");
    }
}

#[tokio::test]
async fn the_key_is_tried() {
    let folder = folder();
    let base = healthy(folder.path());
    let accepting = Model::start(Script::Key("sk-good")).await;
    let hanging = Model::start(Script::Hang).await;
    let broken = Model::start(Script::Broken).await;
    let cases = [
        (accepting.url.as_str(), "sk-good", "ok", "accepted"),
        (&accepting.url, "sk-bad", "fail", "was refused"),
        (&hanging.url, "sk-good", "fail", ""),
        (&broken.url, "sk-good", "fail", "500"),
        ("http://127.0.0.1:1/v1", "sk-good", "fail", ""),
    ];
    for (url, key, outcome, word) in cases {
        let path = folder.path().to_owned();
        let (url, base) = (url.to_owned(), base.clone());
        let report = tokio::task::spawn_blocking(move || {
            let change = |command: &mut Command| {
                command.env("OPENAI_API_KEY", key).env("OPENAI_BASE_URL", &url);
            };
            doctor(&path, &base, change).1
        });
        let report = report.await.unwrap();
        let check = check(&report, "model");
        assert_eq!(check["outcome"], outcome, "{check}");
        assert!(check["detail"].as_str().unwrap().contains(word), "{check}");
        assert_eq!(check["remedy"].is_string(), outcome != "ok", "{check}");
    }
}

#[test]
fn without_a_key_nothing_is_wrong() {
    let folder = folder();
    let base = healthy(folder.path());
    let (said, report) = doctor(folder.path(), &base, |_| {});
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(report["ok"], true);
    for name in ["data directory", "disk space", "database", "source app", "model", "clock"] {
        assert_ne!(check(&report, name)["outcome"], "fail", "{report:#}");
    }
}

#[test]
fn doctor_changes_nothing() {
    let folder = folder();
    let base = healthy(folder.path());
    doctor(folder.path(), &base, |_| {});
    // Made by root, say, the data directory would be of no use to the service.
    let mut left: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["app.log", "lux.toml"]);
}

#[test]
fn an_unreadable_log_names_the_group_that_may_read_it() {
    let folder = folder();
    let mut toml = healthy(folder.path());
    let log = folder.path().join("locked.log");
    fs::write(&log, "secret\n").unwrap();
    toml.extend(["[[sources]]\nname = \"locked\"\npath = \"", log.to_str().unwrap(), "\"\n"]);
    fs::write(folder.path().join("lux.toml"), toml).unwrap();
    let root = rustix::process::geteuid().is_root();
    let group = if root {
        let groups = fs::read_to_string("/etc/group").unwrap();
        let adm = groups.lines().find(|line| line.starts_with("adm:")).unwrap();
        adm.split(':').nth(2).unwrap().parse().unwrap()
    } else {
        log.metadata().unwrap().gid()
    };
    chown(&log, None, Some(group)).unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o040)).unwrap();

    let mut command = if root {
        // Root may read everything, so somebody else must ask, with a program they reach.
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        chown(&data, Some(65534), Some(65534)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("lux");
        fs::copy(env!("CARGO_BIN_EXE_lux"), &program).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command.current_dir(folder.path()).env("LUX_DATA_DIR", data);
        command
    } else {
        lux(folder.path())
    };
    let said = run(command.args(["doctor", "--json"]));
    assert_eq!(said.code, Some(1), "{said:?}");
    let report = said.json();
    let check = check(&report, "source locked");
    assert_eq!(check["outcome"], "fail", "{check}");
    let remedy = check["remedy"].as_str().unwrap();
    assert!(remedy.contains("usermod -aG"), "{remedy}");
    assert!(!root || remedy.contains(" adm "), "{remedy}");
}

#[test]
fn an_unreachable_database_is_told_with_a_remedy() {
    let folder = folder();
    let base = healthy(folder.path());
    let (said, report) = doctor(folder.path(), &base, |command| {
        command.env("DATABASE_URL", "postgres://lux@127.0.0.1:1/lux");
    });
    assert_eq!(said.code, Some(1));
    let check = check(&report, "database");
    assert_eq!(check["outcome"], "fail", "{check}");
    assert!(check["remedy"].as_str().unwrap().contains("DATABASE_URL"), "{check}");
}

#[tokio::test]
async fn a_database_is_reported_before_and_after_its_migration() {
    let Some(cluster) = Cluster::start() else { return };
    for database in [Database::sqlite(), Database::of(&cluster).await] {
        let setup = Setup::new(&database);
        let path = setup.folder().to_owned();
        let base = healthy(&path);
        let look = || {
            let (database, path, base) = (database.clone(), path.clone(), base.clone());
            tokio::task::spawn_blocking(move || {
                let report = doctor(&path, &base, |command| {
                    if let Database::Postgres(url) = &database {
                        command.env("DATABASE_URL", url);
                    }
                });
                check(&report.1, "database").clone()
            })
        };
        let before = look().await.unwrap();
        assert_ne!(before["outcome"], "fail", "{before}");
        assert!(!before["detail"].as_str().unwrap().contains("and migrated"), "{before}");
        let mut server = setup.toml(&base).start().await;
        assert_eq!(server.stop().await, Some(0));
        let after = look().await.unwrap();
        assert_eq!(after["outcome"], "ok", "{after}");
        assert!(after["detail"].as_str().unwrap().contains("and migrated"), "{after}");
    }
}

#[test]
fn a_log_that_is_not_there_is_a_note_not_a_failure() {
    let folder = folder();
    let path = folder.path().join("later.log");
    let toml = format!("[[sources]]\nname = \"later\"\npath = \"{}\"\n", path.display());
    let (said, report) = doctor(folder.path(), &toml, |_| {});
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(check(&report, "source later")["outcome"], "warn");
}

#[test]
fn a_clock_that_went_back_is_noticed() {
    let Some(library) =
        glob::glob("/usr/lib/*/faketime/libfaketime.so.1").unwrap().flatten().next()
    else {
        return crate::support::skip("libfaketime");
    };
    let folder = folder();
    let base = healthy(folder.path());
    fs::create_dir(folder.path().join("data")).unwrap();
    run(lux(folder.path()).arg("migrate"));
    let (said, report) = doctor(folder.path(), &base, |command| {
        command.env("LD_PRELOAD", library).env("FAKETIME", "-3d").env("FAKETIME_NO_CACHE", "1");
        command.env("NO_FAKE_STAT", "1");
    });
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(check(&report, "clock")["outcome"], "fail", "{report:#}");
}

#[test]
fn the_example_file_is_right_as_it_is_and_with_everything_switched_on() {
    let example =
        fs::read_to_string(crate::support::repository("deploy/lux.example.toml")).unwrap();
    let switched_on: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(switched_on.lines().filter(|line| !line.starts_with('#')).count() > 60);
    for toml in [example, switched_on] {
        let folder = folder();
        // Its paths are those of a real host.
        let (_, report) = doctor(folder.path(), &toml, |command| {
            command.env("LUX_DATA_DIR", folder.path().join("data"));
            command.env("DATABASE_URL", format!("sqlite:{}", folder.path().join("x.db").display()));
        });
        assert_eq!(report["mistakes"], serde_json::json!([]), "{report:#}");
    }
}
