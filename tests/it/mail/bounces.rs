//! Mail that comes back.

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use super::{approve, column, counts, fate, make_contacts, one, posting, sink::Sink, until_status};
use crate::support::{Answer, Database, Role, Server, on_both, run};

async fn tell(server: &Server, body: &Value) -> Answer {
    let path = "/api/webhook/mail-bounce";
    Answer::of(server.request_as(Role::Ingest, Method::POST, path).json(body)).await
}

async fn contact(server: &Server, id: i64) -> String {
    let query =
        format!("select consent || ' ' || coalesce(bounced, '-') from contact where id = {id}");
    one(server, &query).await
}

on_both!(what_a_provider_tells_counts);
async fn what_a_provider_tells_counts(database: Database) {
    let sink = Sink::new().await;
    let server = posting(&database, &sink).start().await;
    make_contacts(&server, 6).await;
    for campaign in 1..=3 {
        approve(&server, campaign, "Hello", "").await;
        until_status(&server, campaign, "sent").await;
    }
    let mails = |to: &str| sink.to(to).iter().map(super::sink::Received::mail).collect::<Vec<_>>();
    let hard =
        json!({ "mail": mails("u1@example.org")[0], "type": "hard", "reason": "5.1.1 gone" });
    assert_eq!(tell(&server, &hard).await.json(), json!({ "recorded": 1, "unknown": 0 }));
    assert_eq!(contact(&server, 1).await, "confirmed hard");
    // Told twice is told once.
    tell(&server, &hard).await;
    let noted = "select kind from contact_activity where contact_id = 1 and kind <> 'mailed'";
    assert_eq!(column(&server, noted).await, ["bounced"]);

    let many = json!([
        { "email": "U2@Example.ORG", "type": "complaint", "reason": "abuse" },
        { "email": "nobody@example.org", "type": "hard" },
        { "mail": 987_654_321, "type": "hard" },
    ]);
    assert_eq!(tell(&server, &many).await.json(), json!({ "recorded": 1, "unknown": 2 }));
    assert_eq!(contact(&server, 2).await, "withdrawn complaint");

    // Three soft ones in a row are a hard one.
    for (number, mail) in mails("u3@example.org").into_iter().enumerate() {
        let expected = if number == 0 { "confirmed -" } else { "confirmed soft" };
        assert_eq!(contact(&server, 3).await, expected);
        tell(&server, &json!({ "mail": mail, "type": "soft", "reason": "4.2.2 full" })).await;
    }
    assert_eq!(contact(&server, 3).await, "confirmed hard");
    // One mail that came back three times is one.
    for _ in 0..3 {
        let mail = mails("u4@example.org")[0];
        tell(&server, &json!({ "mail": mail, "type": "soft", "reason": "4.2.2 full" })).await;
    }
    assert_eq!(contact(&server, 4).await, "confirmed soft");
    let reasons = "select reason from suppression order by reason";
    assert_eq!(column(&server, reasons).await, ["bounced", "bounced", "complained"]);

    approve(&server, 4, "Hello", "").await;
    until_status(&server, 4, "sent").await;
    for refused in 1..=3 {
        assert!(fate(&server, refused).await.starts_with("skipped: "));
    }
    assert_eq!(counts(&server, 4).await["sent"], 3);

    for wrong in [
        json!({ "mail": 1, "email": "ada@example.com", "type": "hard" }),
        json!({ "type": "hard" }),
        json!({ "mail": 1, "type": "firm" }),
        json!([]),
    ] {
        tell(&server, &wrong).await.problem(400);
    }
}

on_both!(the_mailbox_of_reports_is_read);
async fn the_mailbox_of_reports_is_read(database: Database) {
    let sink = Sink::new().await;
    let server = posting(&database, &sink).start().await;
    make_contacts(&server, 3).await;
    approve(&server, 1, "Hello", "").await;
    until_status(&server, 1, "sent").await;
    let mark = |to: &str| sink.to(to)[0].header("X-Lux-Mail");
    let notification = |mark: &str, status: &str| {
        format!(
            "From MAILER-DAEMON Sat Nov 21 10:00:00 2026\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
             --b\nContent-Type: text/plain\n\nsorry\n\n--b\nContent-Type: message/delivery-status\n\n\
             Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; x@example.org\nAction: failed\n\
             Status: {status}\nDiagnostic-Code: smtp; 550 {status} gone\n\n\
             --b\nContent-Type: message/rfc822\n\nX-Lux-Mail: {mark}\nSubject: Hi\n\nHello\n\n--b--\n\n"
        )
    };
    // The mark of another mail with the signature of this one is none.
    let forged = mark("u2@example.org").replace(
        &format!("{}-", sink.to("u2@example.org")[0].mail()),
        &format!("{}-", sink.to("u3@example.org")[0].mail()),
    );
    let mailbox = [
        notification(&mark("u1@example.org"), "5.1.1"),
        notification(&forged, "5.1.1"),
        "From a\nSubject: I am away\n\nsorry\n\n".to_owned(),
    ]
    .concat();
    let file = server.folder().join("bounces.mbox");
    std::fs::write(&file, &mailbox).unwrap();
    let said = run(server.command().args(["contacts", "bounces"]).arg(&file));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("3 messages: 1 reports recorded, 2 say nothing"), "{said:?}");
    assert_eq!(contact(&server, 1).await, "confirmed hard");
    assert_eq!(contact(&server, 3).await, "confirmed -");
    // By a pipe, as a mail server hands one message to a program.
    let one = notification(&mark("u2@example.org"), "4.2.2");
    let one = one.split_once('\n').unwrap().1;
    let mut child = server
        .command()
        .args(["contacts", "bounces", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(one.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("1 messages: 1 reports"),
        "{output:?}"
    );
    assert_eq!(contact(&server, 2).await, "confirmed soft");
    let said = run(server.command().args(["contacts", "bounces", "/nonexistent"]));
    assert_eq!(said.code, Some(2), "{said:?}");
}
