//! Files of contacts: read as they are, looked at before, resumed after a kill.

use std::{fmt::Write, fs, os::unix::fs::PermissionsExt};

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{add, begun, contacts, ended, path, upload};
use crate::contract::patient;
use crate::support::{Answer, Database, Role, Server, on_both, until};

async fn refused(server: &Server, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = server.request_as(Role::Operator, Method::POST, "/api/contacts/imports");
    Answer::of(request.header(CONTENT_TYPE, kind).body(body)).await
}

on_both!(a_file_is_looked_at_before_it_is_brought_in);
async fn a_file_is_looked_at_before_it_is_brought_in(database: Database) {
    let server = patient(&database).await;
    add(&server, json!({ "email": "known@example.com", "first_name": "Old" })).await;
    let mut file = "Adresse;Full Name;City;Labels\r\n".to_owned();
    file.push_str("Known@Example.com;Nina New;Oslo;\r\n");
    for n in 1..=8 {
        write!(file, "p{n}@example.com;Person {n};\"Bergen; west\";a|b\r\n").unwrap();
    }
    file.push_str("nobody;No Address;Oslo;\r\n;;;\r\n");
    let import = upload(&server, "fair%202026.csv", file).await;
    assert_eq!(import["name"], "fair 2026.csv");
    assert_eq!(import["settings"]["delimiter"], ";");
    assert_eq!(import["settings"]["header"], true);
    let to = |import: &Value| {
        let columns = import["settings"]["columns"].as_array().unwrap().clone();
        columns.into_iter().map(|it| it["to"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Nobody knows what "Adresse" is: it is offered, not guessed.
    assert_eq!(to(&import), ["attribute:adresse", "name", "attribute:city", "tags"]);
    assert_eq!(import["preview"].as_array().unwrap().len(), 5);
    assert_eq!(import["preview"][1], json!(["p1@example.com", "Person 1", "Bergen; west", "a|b"]));
    let path = path(&import);
    server.post(&format!("{path}/start"), &json!({})).await.problem(400);
    let change = json!({
        "columns": { "Adresse": "email" }, "tags": ["fair", " fair "], "source": "fair 2026",
    });
    let import = server.patch(&path, &change).await.json();
    assert_eq!(to(&import)[0], "email");
    assert_eq!(import["settings"]["tags"], json!(["fair"]));
    for wrong in [
        json!({ "columns": { "Nothing": "email" } }),
        json!({ "columns": { "City": "email" } }),
        json!({ "columns": { "City": "e-mail" } }),
        json!({ "delimiter": "x" }),
        json!({ "encoding": "EBCDIC" }),
    ] {
        server.patch(&path, &wrong).await.problem(400);
    }

    let checked = begun(&server, &import, true).await;
    assert_eq!(checked["status"], "checked", "{checked}");
    let counts = json!({ "created": 8, "updated": 1, "unchanged": 0, "rejected": 1 });
    assert_eq!(checked["checked"], counts);
    assert_eq!(contacts(&server, "").await.len(), 1, "a dry run brought somebody in");
    let rejected = server.request_as(Role::Read, Method::GET, &format!("{path}/rejected"));
    let rejected = Answer::of(rejected).await;
    assert_eq!(rejected.headers["content-type"], "text/csv; charset=utf-8; header=present");
    let expected = "lux line,lux column,lux reason,Adresse,Full Name,City,Labels\r\n\
                    11,Adresse,has no @,nobody,No Address,Oslo,\r\n";
    assert_eq!(rejected.text, expected);

    let done = begun(&server, &import, false).await;
    assert_eq!(done["status"], "done", "{done}");
    assert_eq!(done["counts"], counts);
    assert_eq!(done["rejected_kept"], 1);
    let all = contacts(&server, "tag=fair").await;
    assert_eq!(all.len(), 9);
    let known = all.iter().find(|it| it["email"] == "known@example.com").unwrap();
    assert_eq!(known["first_name"], "Nina");
    assert_eq!(known["attributes"], json!({ "city": "Oslo" }));
    let new = all.iter().find(|it| it["email"] == "p1@example.com").unwrap();
    assert_eq!(new["tags"], json!(["a", "b", "fair"]));
    assert_eq!((&new["source"], &new["consent"]), (&json!("fair 2026"), &json!("none")));
    // Segments are right at once.
    let segments = server.get(&format!("/api/contacts/{}", new["id"])).await["segments"].clone();
    assert_eq!(segments, json!(["lead"]));
    server.post(&format!("{path}/start"), &json!({})).await.problem(409);
    server.patch(&path, &json!({ "source": "x" })).await.problem(409);
    let folder = server.data().join("imports");
    until("the file is removed", async || {
        (fs::read_dir(&folder).unwrap().count() == 0).then_some(())
    })
    .await;
    // Brought once more, nothing changes.
    let again = upload(&server, "again.csv", "email,name\np1@example.com,Person 1\n").await;
    let again = begun(&server, &again, false).await;
    assert_eq!(again["counts"]["unchanged"], 1, "{again}");
    let deeds = server.deeds().await;
    assert!(deeds.iter().any(|it| it["action"] == "contacts.import"), "{deeds:?}");
}

#[tokio::test]
async fn files_come_as_forms_and_nobody_else_reads_them() {
    let server = patient(&Database::sqlite()).await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"../ev\"\r\n\
                Content-Type: text/csv\r\n\r\nemail\na@example.com\n\r\n--b--\r\n";
    let answer = refused(&server, "multipart/form-data; boundary=b", form).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let folder = server.data().join("imports");
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "email\na@example.com\n");
    let id = answer.json()["id"].clone();
    let cancelled = server.post(&format!("/api/contacts/imports/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.json()["status"], "cancelled");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

    refused(&server, "multipart/form-data; boundary=b", "--b--\r\n").await.problem(400);
    refused(&server, "application/json", "{}").await.problem(415);
    refused(&server, "text/csv", "").await.problem(400);
    refused(&server, "text/csv", "PK\u{3}\u{4}\0\0\0").await.problem(400);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "what was refused is still there");
    let read = server.request_as(Role::Read, Method::POST, "/api/contacts/imports");
    Answer::of(read.header(CONTENT_TYPE, "text/csv").body("email\n")).await.problem(403);
}

#[tokio::test]
async fn encodings_are_read_as_they_are() {
    let server = patient(&Database::sqlite()).await;
    let text = "email,first name\nzoe@example.com,Zoë\n";
    let utf16 = |big: bool| {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units.flat_map(|it| if big { it.to_be_bytes() } else { it.to_le_bytes() }).collect()
    };
    let windows: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
    for (bytes, name) in [
        (utf16(false), "UTF-16LE"),
        (utf16(true), "UTF-16BE"),
        (windows, "windows-1252"),
        (marked, "UTF-8"),
        (text.as_bytes().to_vec(), "UTF-8"),
    ] {
        let import = upload(&server, "x.csv", bytes).await;
        assert_eq!(import["settings"]["encoding"], name);
        assert_eq!(import["preview"], json!([["zoe@example.com", "Zoë"]]), "{name}");
        let done = begun(&server, &import, false).await;
        assert_eq!(done["status"], "done", "{done}");
    }
    assert_eq!(contacts(&server, "").await[0]["first_name"], "Zoë");
    // What an operator knows better is done.
    let import = upload(&server, "x.csv", "a@example.com;A\nb@example.com;B\n").await;
    assert_eq!(import["settings"]["header"], false);
    assert_eq!(import["settings"]["columns"][0]["to"], "email");
    let changed = server.patch(&path(&import), &json!({ "delimiter": ",", "header": true })).await;
    let columns = changed.json()["settings"]["columns"].clone();
    assert_eq!(columns[0]["name"], "a@example.com;A");
}

on_both!(a_quote_that_is_missing_ends_it_with_the_line);
async fn a_quote_that_is_missing_ends_it_with_the_line(database: Database) {
    let server = patient(&database).await;
    let mut file = "email,name\na@example.com,A\nb@example.com,\"B\n".to_owned();
    file.push_str(&"c@example.com,C\n".repeat(200_000));
    let import = upload(&server, "x.csv", file).await;
    let failed = begun(&server, &import, false).await;
    assert_eq!(failed["status"], "failed");
    let note = failed["note"].as_str().unwrap();
    assert!(note.contains("line 3") && note.contains("quotation mark"), "{note}");
}

/// 20 000 rows, of which every hundredth is refused and every tenth address is there twice.
fn many() -> String {
    let mut file = "email,name,source\n".to_owned();
    for n in 0..20_000 {
        match n % 100 {
            0 => writeln!(file, "row {n},,").unwrap(),
            n_of if n_of % 10 == 1 => writeln!(file, "p{}@example.com,B,s", n - 1 + 5).unwrap(),
            _ => writeln!(file, "p{n}@example.com,A,newsletter").unwrap(),
        }
    }
    file
}

on_both!(a_killed_import_goes_on_where_it_was);
async fn a_killed_import_goes_on_where_it_was(database: Database) {
    let expected = {
        let server = patient(&database).await;
        let import = upload(&server, "many.csv", many()).await;
        let counts = begun(&server, &import, false).await["counts"].clone();
        assert_eq!(counts["rejected"], 200);
        counts
    };
    let Some(database) = fresh(&database).await else { return };
    let mut server = patient(&database).await;
    let import = upload(&server, "many.csv", many()).await;
    let path = path(&import);
    assert_eq!(server.post(&format!("{path}/start"), &json!({})).await.status, 202);
    let mut kills = 0;
    let mut last = 0;
    let done = loop {
        let moved = until("it moves on", async || {
            let import = server.get(&path).await;
            let moved = import["done_bytes"].as_i64().unwrap() > last;
            (moved || import["status"] != "running").then_some(import)
        })
        .await;
        if moved["status"] != "running" {
            break moved;
        }
        last = moved["done_bytes"].as_i64().unwrap();
        kills += 1;
        server.kill().await;
        server.start().await;
    };
    assert!(kills > 0, "it was never killed on its way");
    assert_eq!(done["status"], "done", "{done}");
    assert_eq!(done["counts"], expected, "after {kills} kills");
    let data = server.data();
    let one = async |sql: &str| server.database().column(&data, sql).await.remove(0);
    let created = expected["created"].to_string();
    assert_eq!(one("select cast(count(*) as text) from contact").await, created);
    let notes = "select cast(count(*) as text) from contact_activity where kind = 'created'";
    assert_eq!(one(notes).await, created);
    assert_eq!(one("select cast(count(*) as text) from contact_import_rejected").await, "200");
}

/// Another empty database of the same kind.
async fn fresh(database: &Database) -> Option<Database> {
    match database {
        Database::Sqlite => Some(Database::sqlite()),
        Database::Postgres(_) => Database::postgres().await,
    }
}

#[tokio::test]
async fn a_cancelled_import_stops() {
    let server = patient(&Database::sqlite()).await;
    let mut file = "email\n".to_owned();
    (0..200_000).for_each(|n| writeln!(file, "p{n}@example.com").unwrap());
    let import = upload(&server, "x.csv", file).await;
    let path = path(&import);
    server.post(&format!("{path}/start"), &json!({})).await;
    until("it began", async || {
        (server.get(&path).await["done_bytes"].as_i64().unwrap() > 0).then_some(())
    })
    .await;
    let cancelled = server.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let end = ended(&server, &import).await;
    assert_eq!(end["status"], "cancelled");
    let stored = end["counts"]["created"].as_i64().unwrap();
    assert!(stored > 0 && stored < 200_000, "{end}");
    let sql = "select cast(count(*) as text) from contact";
    assert_eq!(server.database().column(&server.data(), sql).await, [stored.to_string()]);
    server.post(&format!("{path}/cancel"), &json!({})).await.problem(409);
    // The next one is not kept waiting.
    let next = upload(&server, "y.csv", "email\nlast@example.com\n").await;
    assert_eq!(begun(&server, &next, false).await["status"], "done");
}
