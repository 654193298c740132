//! Contacts out into tables, and back.

use reqwest::Method;
use serde_json::{Value, json};

use super::{add, begun, contacts, upload};
use crate::contract::patient;
use crate::support::{Answer, Database, Role, Server, on_both, run};

async fn export(server: &Server, query: &str) -> Answer {
    let path = format!("/api/contacts/export?{query}");
    let answer = Answer::of(server.request_as(Role::Read, Method::GET, &path)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

/// The rows of a table by their columns' names.
fn rows(text: &str) -> Vec<std::collections::HashMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let header = reader.headers().unwrap().clone();
    let row = |row: csv::Result<csv::StringRecord>| {
        let row = row.unwrap();
        header.iter().map(str::to_owned).zip(row.iter().map(str::to_owned)).collect()
    };
    reader.records().map(row).collect()
}

on_both!(an_export_has_all_and_runs_nothing);
async fn an_export_has_all_and_runs_nothing(database: Database) {
    let server = patient(&database).await;
    let formulas = ["=cmd|' /C calc'!A1", "+1", "-1", "@SUM(A1)", "\"=1\"", "  =1", "＝1"];
    for (n, formula) in formulas.iter().enumerate() {
        add(
            &server,
            json!({
                "email": format!("f{n}@example.com"), "first_name": formula, "company": "A, \"B\"",
                "phone": "+44 20 7946 0018", "source": "fair", "tags": ["x", "y"],
                "attributes": { "city": formula, "only": n.to_string() },
            }),
        )
        .await;
    }
    for n in 0..700 {
        add(&server, json!({ "email": format!("p{n}@example.com"), "source": "Newsletter" })).await;
    }
    let table = export(&server, "").await;
    let marked = server.request_as(Role::Read, Method::GET, "/api/contacts/export?bom=true");
    let marked = marked.send().await.unwrap().bytes().await.unwrap();
    assert!(marked.starts_with(b"\xef\xbb\xbfid,email,"));
    assert_eq!(table.headers["content-disposition"], "attachment; filename=\"contacts.csv\"");
    assert!(table.text.starts_with("id,email,"));
    let all = rows(&table.text);
    assert_eq!(all.len(), contacts(&server, "").await.len());
    for (n, formula) in formulas.iter().enumerate() {
        let row = all.iter().find(|row| row["email"] == format!("f{n}@example.com")).unwrap();
        for cell in [&row["first_name"], &row["attributes.city"]] {
            assert_eq!(cell.trim_start_matches('\''), formula.trim(), "{row:?}");
            assert!(cell.starts_with('\''), "{row:?}");
        }
        assert_eq!(row["company"], "A, \"B\"");
        assert_eq!((&*row["phone"], &*row["tags"]), ("'+442079460018", "x; y"));
        assert_eq!((&*row["segments"], &*row["consent"]), ("lead", "none"));
    }
    // As the list shows it, so it is exported.
    for query in ["source=Newsletter", "q=f3", "tag=x", "consent=confirmed"] {
        let listed = contacts(&server, query).await.len();
        assert_eq!(rows(&export(&server, query).await.text).len(), listed, "{query}");
    }
    let lines = export(&server, "format=jsonl&source=fair").await.text;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), formulas.len());
    assert_eq!(lines.last().unwrap()["first_name"], formulas[0]);
    assert_eq!(lines[0]["segments"], json!(["lead"]));

    // Back in, nothing is new: what guards cells is taken off again.
    let import = upload(&server, "back.csv", table.text).await;
    let done = begun(&server, &import, true).await;
    let unchanged = json!({ "created": 0, "updated": 0, "unchanged": all.len(), "rejected": 0 });
    assert_eq!(done["checked"], unchanged, "{done}");
}

#[tokio::test]
async fn the_command_line_brings_in_and_takes_out() {
    let server = patient(&Database::sqlite()).await;
    let file = server.folder().join("list.csv");
    std::fs::write(&file, "Where,Name\na@example.com,Ada\nbroken,Bob\n").unwrap();
    let lux = |arguments: &[&str]| {
        let mut command = server.command();
        command.arg("contacts").args(arguments).env("LUX_URL", &server.base);
        command.env("LUX_TOKEN", server.token(Role::Operator));
        run(&mut command)
    };
    let path = file.to_str().unwrap();
    let refused = lux(&["import", path]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--map"), "{refused:?}");
    let dry = lux(&["import", path, "--map", "Where=email", "--dry-run"]);
    assert_eq!(dry.code, Some(1), "{dry:?}");
    assert!(
        dry.out.contains("1 would be new") && dry.out.contains("1 would be rejected"),
        "{dry:?}"
    );
    assert!(dry.out.contains("line 3") && dry.out.contains("has no @"), "{dry:?}");
    assert!(contacts(&server, "").await.is_empty());
    let done = lux(&["import", path, "--map", "Where=email", "--tag", "cli", "--source", "a list"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("1 new"), "{done:?}");
    let all = contacts(&server, "tag=cli").await;
    assert_eq!((&all[0]["email"], &all[0]["source"]), (&json!("a@example.com"), &json!("a list")));
    let out = lux(&["export", "--csv"]);
    assert_eq!(rows(&out.out)[0]["first_name"], "Ada", "{out:?}");
    let out = lux(&["export", "--json", "--segment", "lead"]);
    assert_eq!(out.json()["email"], "a@example.com");
    let none = lux(&["export", "--segment", "nothing"]);
    assert_eq!(none.code, Some(2), "{none:?}");
}
