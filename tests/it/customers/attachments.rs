//! Files of customers, wanted and unwanted.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};

use super::{Person, sql};
use crate::{
    contract::patient,
    support::{Answer, Database, Server, Setup, on_both},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and some pixels";

async fn bring(
    server: &Server,
    who: &Person,
    path: &str,
    kind: &str,
    bytes: impl Into<Vec<u8>>,
) -> Answer {
    let request = who.request(server, Method::POST, path).header(CONTENT_TYPE, kind);
    Answer::of(request.body(bytes.into())).await
}

/// How many files' bytes are kept.
async fn kept(server: &Server) -> String {
    let count = "select cast(count(*) as text) from customer_attachment_bytes";
    server.database().column(&server.data(), count).await.remove(0)
}

on_both!(a_file_is_kept_and_given_back);
async fn a_file_is_kept_and_given_back(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let own = "/api/customers/me/attachments";
    let plan =
        bring(&server, &ada, &format!("{own}?name=plan%20%C3%9F.png"), "image/png", PNG).await;
    assert_eq!(plan.status, 201, "{plan:?}");
    let plan = plan.json();
    assert_eq!((&plan["name"], &plan["size"]), (&json!("plan ß.png"), &json!(PNG.len())));
    let form = "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nx\r\n\
                --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"people.csv\"\r\n\
                Content-Type: text/csv\r\n\r\nname\r\nAda\r\n\r\n--b--\r\n";
    let by_form =
        bring(&server, &ada, own, "multipart/form-data; boundary=b", form.as_bytes()).await;
    assert_eq!(by_form.status, 201, "{by_form:?}");
    assert_eq!(by_form.json()["media_type"], "text/csv");
    let list = server.get(&format!("/api/customers/{}/attachments", ada.id)).await;
    let names: Vec<_> =
        list["attachments"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["people.csv", "plan ß.png"]);
    assert_eq!(kept(&server).await, "2");
    let one = format!("{own}/{}", plan["id"]);
    let read = ada.request(&server, Method::GET, &one).send().await.unwrap();
    assert_eq!(read.status(), 200);
    let header = |name: &str| read.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").contains("sandbox"));
    let disposition = header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"plan _.png\""), "{disposition}");
    assert_eq!(read.bytes().await.unwrap(), PNG);
    let removed = Answer::of(ada.request(&server, Method::DELETE, &one)).await;
    assert_eq!(removed.status, 204, "{removed:?}");
    assert_eq!(kept(&server).await, "1");
    ada.get(&server, &one).await.problem(404);
    Answer::of(ada.request(&server, Method::DELETE, &one)).await.problem(404);
    let deeds: Vec<_> = server.deeds().await.iter().map(|it| it["action"].clone()).collect();
    assert!(deeds.contains(&json!("customer.attach")) && deeds.contains(&json!("customer.detach")));
    // The other one goes with its customer.
    sql(&server, &format!("delete from account where id = {}", ada.id)).await;
    assert_eq!(kept(&server).await, "0");
}

on_both!(hostile_files_are_refused);
async fn hostile_files_are_refused(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    let eve = Person::new(&server, "customer").await;
    let own = "/api/customers/me/attachments";
    let html = &b"<script>alert(1)</script>"[..];
    for (kind, bytes) in [
        ("image/png", html),
        ("image/jpeg", PNG),
        ("text/html", html),
        ("image/svg+xml", b"<svg onload=alert(1)>"),
        ("application/octet-stream", PNG),
        ("", PNG),
        ("text/plain", PNG),
        ("text/plain", b"#!/bin/sh\0"),
        ("text/csv", b"\xff\xfea\0"),
        ("application/pdf", b"MZ%PDF-"),
        ("image/png", b""),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        ("multipart/form-data", b"--b--\r\n"),
    ] {
        bring(&server, &ada, own, kind, bytes).await.problem(400);
    }
    // Too large: told by its head, or found out on the way.
    let large = [PNG, &vec![0; 10 << 20]].concat();
    let request = ada.request(&server, Method::POST, own).header(CONTENT_TYPE, "image/png");
    if let Ok(answer) = Answer::try_of(request.header("connection", "close").body(large)).await {
        answer.problem(413);
    }
    let chunks = (0..1100).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 10_000]));
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    let request = ada.request(&server, Method::POST, own).header(CONTENT_TYPE, "text/plain");
    if let Ok(answer) = Answer::try_of(request.header("connection", "close").body(stream)).await {
        answer.problem(413);
    }
    assert_eq!(kept(&server).await, "0", "what was refused is still there");
    // A name leads nowhere.
    for (name, is_called) in [
        ("..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("C:%5Cx.txt", "x.txt"),
        ("", "file"),
        ("%2E%2E", "file"),
    ] {
        let answer =
            bring(&server, &ada, &format!("{own}?name={name}"), "text/plain", "hello").await;
        assert_eq!(answer.json()["name"], is_called, "{name}");
    }
    let file = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../x\r\n\
                Content-Type: text/plain\r\n\r\nhello\r\n--b--\r\n";
    let answer = bring(&server, &ada, own, "multipart/form-data; boundary=b", file).await;
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(kept(&server).await, "4");
    assert!(!server.folder().join("etc").exists() && !server.data().join("x").exists());
    // What is Ada's is not there for Eve, by whatever way.
    let list = ada.get(&server, own).await.json();
    let id = list["attachments"][0]["id"].clone();
    for path in [
        format!("/api/customers/{}/attachments/{id}", ada.id),
        format!("/api/customers/{}/attachments/{id}", eve.id),
        format!("{own}/{id}"),
        format!("{own}/..%2F..%2Flux.db"),
        format!("{own}/0"),
    ] {
        for method in [Method::GET, Method::DELETE] {
            Answer::of(eve.request(&server, method, &path)).await.problem(404);
        }
    }
    let path = format!("/api/customers/{}/attachments", ada.id);
    bring(&server, &eve, &path, "text/plain", "hello").await.problem(404);
    assert_eq!(kept(&server).await, "4");
}

on_both!(fifty_files_and_no_more);
async fn fifty_files_and_no_more(database: Database) {
    let server = patient(&database).await;
    let ada = Person::new(&server, "customer").await;
    sql(
        &server,
        &format!(
            "with recursive t(n) as (select 1 union all select n + 1 from t where n < 49)
             insert into customer_attachment (organization_id, account_id, name, media_type,
                 size, made_by, created_at)
             select 1, {}, 'n', 'text/plain', 1, 'x', '2026-11-20T10:00:00+00:00'
             from t",
            ada.id
        ),
    )
    .await;
    let own = "/api/customers/me/attachments";
    let (one, other) = tokio::join!(
        bring(&server, &ada, own, "text/plain", "one"),
        bring(&server, &ada, own, "text/plain", "other")
    );
    let mut said = [one.status.as_u16(), other.status.as_u16()];
    said.sort_unstable();
    assert_eq!(said, [201, 409]);
    assert_eq!(kept(&server).await, "1");
    let list: Value = ada.get(&server, own).await.json();
    assert_eq!(list["attachments"].as_array().unwrap().len(), 50);
}

on_both!(each_replica_has_each_file);
async fn each_replica_has_each_file(database: Database) {
    let server = patient(&database).await;
    let other = Setup::replica_of(&server).start().await;
    let ada = Person::new(&server, "customer").await;
    let own = "/api/customers/me/attachments";
    // As large as a file may be.
    let large = [PNG, &vec![7; (10 << 20) - PNG.len()]].concat();
    let kept = bring(&server, &ada, own, "image/png", large.clone()).await;
    assert_eq!(kept.status, 201, "{kept:?}");
    let one = format!("{own}/{}", kept.json()["id"]);
    let read = ada.request(&other, Method::GET, &one).send().await.unwrap();
    assert_eq!(read.status(), 200);
    assert!(read.bytes().await.unwrap() == large, "the other replica has other bytes");
    let removed = Answer::of(ada.request(&other, Method::DELETE, &one)).await;
    assert_eq!(removed.status, 204, "{removed:?}");
    ada.get(&server, &one).await.problem(404);
}
