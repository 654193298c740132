//! Repairs watched as they go, and actions decided about: a site that really fails, commands
//! that really run.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde_json::{Value, json};

use super::story;
use crate::support::{Database, Server, Setup, Site, on_both, until};

fn script(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{text}\n", folder.display())).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Lux beside the site, with an action that mends it after an approval, and its undo.
async fn rig(database: &Database, repair: &str) -> (Server, Site) {
    let setup = Setup::new(database);
    let folder = setup.folder().to_owned();
    let (site, url) = Site::start(folder.clone()).await;
    let mend = script(&folder, "mend", "echo mend >>ran\necho \"installed $1\"\n>fixed");
    let spoil = script(&folder, "spoil", "echo spoil >>ran\nrm -f fixed");
    let toml = format!(
        "[repair]\nactions = true\nprobes_per_second = 1000\ntry_failing = false\n{repair}\n\
         [schedule]\nrepair = \"0 */6 * * *\"\n\
         [[sources]]\nname = \"site\"\npath = \"{log}\"\n\
         [[apps]]\nname = \"site\"\nbase_url = \"{url}\"\n\
         [[actions]]\nname = \"install\"\ntitle = \"Install the missing module\"\n\
         argv = [\"{mend}\", \"{{what}}\"]\npolicy = \"approve\"\nrisk = \"reversible\"\n\
         undo = \"uninstall\"\ncooldown = \"0s\"\nmax_per_day = 100\n\
         fixes = [\"missing_python_module\"]\n\
         params = {{ what = {{ one_of = [\"shopkit\", \"paykit\"], from = \"module\" }} }}\n\
         [[actions]]\nname = \"uninstall\"\nargv = [\"{spoil}\"]\npolicy = \"approve\"\n\
         cooldown = \"0s\"\nmax_per_day = 100\n",
        log = folder.join("site.log").display(),
    );
    let server = setup.toml(&toml).env("LUX_REQUESTS_PER_MINUTE", "1000000").start().await;
    (server, site)
}

async fn report(server: &Server, kind: &str, message: &str, endpoint: &str) {
    let stack = format!(
        "Traceback (most recent call last):\n  File \"/srv/site/pages.py\", line 7, in serve\n    \
         serve()\n{kind}: {message}\n"
    );
    let event = json!({ "app": "site", "error_type": kind, "error_message": message,
                        "error_stack": stack, "endpoint": endpoint, "method": "GET" });
    let answer = server.post("/api/errors", &event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// How often the audit log has a deed.
async fn deeds(server: &Server, deed: &str) -> usize {
    server.deeds().await.iter().filter(|entry| entry["action"] == deed).count()
}

fn ran(server: &Server) -> Vec<String> {
    let text = fs::read_to_string(server.folder().join("ran")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

on_both!(an_operator_watches_a_repair);
async fn an_operator_watches_a_repair(database: Database) {
    let (server, site) = rig(&database, "passes = 3\nspacing = \"1s\"").await;
    story(&server, "operator", "repairing", async |ask, _| {
        match ask {
            "it fails" => report(&server, "KeyError", "'shipping_zone'", "/cart").await,
            // Once it was seen to fail: what follows went from red to green before our eyes.
            "mend it" => {
                let asked = site.asked();
                until("the site is asked", async || (site.asked() > asked).then_some(())).await;
                site.fix();
            }
            other => panic!("{other}"),
        }
        Value::Null
    })
    .await;
    let groups = server.get("/api/diagnostics/groups?status=resolved").await;
    assert_eq!(groups["groups"].as_array().unwrap().len(), 1, "{groups:#}");
}

on_both!(an_operator_decides_about_actions);
async fn an_operator_decides_about_actions(database: Database) {
    let (server, site) = rig(&database, "passes = 2\nspacing = \"100ms\"").await;
    report(&server, "ModuleNotFoundError", "No module named 'shopkit'", "/cart").await;
    story(&server, "operator", "deciding", async |ask, _| match ask {
        "so far" => json!({
            "ran": ran(&server),
            "fixed": site.is_fixed(),
            "approved": deeds(&server, "action.approve").await,
            "rejected": deeds(&server, "action.reject").await,
            "undone": deeds(&server, "action.undo").await,
        }),
        "wait for the undo" => {
            until("the undo ran", async || (!site.is_fixed()).then_some(())).await;
            Value::Null
        }
        other => panic!("{other}"),
    })
    .await;
}

on_both!(an_administrator_stops_actions);
async fn an_administrator_stops_actions(database: Database) {
    let (server, _site) = rig(&database, "passes = 2\nspacing = \"100ms\"").await;
    story(&server, "admin", "stopping", async |ask, _| match ask {
        "reasons" => {
            let deeds = server.deeds().await;
            let of = |deed: &str| {
                let found = deeds.iter().find(|entry| entry["action"] == deed).cloned();
                found.unwrap_or_else(|| panic!("{deed}: {deeds:#?}"))["detail"]["reason"].clone()
            };
            json!([of("actions.stop"), of("actions.go")])
        }
        "file" => {
            fs::write(server.data().join("stop-actions"), "").unwrap();
            Value::Null
        }
        other => panic!("{other}"),
    })
    .await;
}
