//! Each mail goes out once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    approve, column, counts, fate, make_contacts, one, posting, posting_to,
    sink::{Act, Sink, Tls},
    sql, status, until_status,
};
use crate::support::{Database, Role, Server, Setup, free_port, on_both, run, until};

on_both!(a_campaign_goes_out);
async fn a_campaign_goes_out(database: Database) {
    let sink = Sink::new().await;
    let server = posting(&database, &sink).start().await;
    make_contacts(&server, 300).await;
    for (id, change) in [
        (1, "consent = 'withdrawn'"),
        (2, "consent = 'pending'"),
        (3, "bounced = 'hard'"),
        (4, "bounced = 'soft'"),
        (5, "email = null, email_key = null"),
        (
            6,
            "first_name = 'Eve' || chr(13) || chr(10) || 'Bcc: eve@example.com', last_name = 'Ümläut'",
        ),
    ] {
        let change = match &database {
            Database::Sqlite => change.replace("chr(", "char("),
            Database::Postgres(_) => change.to_owned(),
        };
        sql(&server, &format!("update contact set {change} where id = {id}")).await;
    }
    approve(&server, 1, "Hello\n.\nyou", "").await;
    until_status(&server, 1, "sent").await;
    let received = sink.received();
    let to: BTreeSet<&str> = received.iter().map(|it| it.to.as_str()).collect();
    assert_eq!((received.len(), to.len()), (296, 296));
    for refused in [1, 2, 3, 5] {
        assert!(!to.contains(format!("u{refused}@example.org").as_str()), "{refused}");
        assert!(fate(&server, refused).await.starts_with("skipped: "), "{refused}");
    }
    assert_eq!(
        counts(&server, 1).await,
        json!({
            "total": 300, "waiting": 0, "sent": 296, "refused": 0, "uncertain": 0,
            "left_alone": 0, "skipped": 4, "cancelled": 0, "bounced": 0, "complained": 0, "opened": 0,
            "clicked": 0, "unsubscribed": 0,
        })
    );
    let mail = &sink.to("u6@example.org")[0];
    assert_eq!(mail.header("Bcc"), "");
    assert_eq!(mail.header("Subject"), "Hello");
    assert_eq!(mail.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    let link = mail.header("List-Unsubscribe");
    let link = link.trim_matches(['<', '>']);
    assert!(link.starts_with("https://lux.example.com/u/"), "{link}");
    assert!(mail.body().starts_with("Hello\r\n.\r\nyou"), "{:?}", mail.body());
    assert!(mail.body().contains(link), "{:?}", mail.body());
    assert_eq!(fate(&server, 6).await, "sent: 2.0.0 queued");
    let noted = "select cast(count(*) as text) from contact_activity where kind = 'mailed'";
    assert_eq!(one(&server, noted).await, "296");
    // Nothing is left behind, and a second campaign does not go out before its time.
    assert_eq!(std::fs::read_dir(server.data().join("mail")).unwrap().count(), 0);
    approve(&server, 2, "x", ", send_at = '2046-11-20T10:00:00+00:00'").await;
    approve(&server, 3, "x", ", send_at = '2026-11-20T10:00:00+00:00'").await;
    until_status(&server, 3, "sent").await;
    assert_eq!(status(&server, 2).await, "approved");
}

on_both!(a_kill_neither_doubles_nor_loses_a_mail);
/// 5 000 mails and three kills, whenever they come.
async fn a_kill_neither_doubles_nor_loses_a_mail(database: Database) {
    const MAILS: usize = 5000;
    let sink = Sink::new().await;
    let mut server = posting(&database, &sink).start().await;
    make_contacts(&server, MAILS).await;
    approve(&server, 1, "Hello", "").await;
    for kill in 1..=3 {
        until("some are sent", async || (sink.count() > kill * MAILS / 5).then_some(())).await;
        assert_eq!(status(&server, 1).await, "sending");
        server.kill().await;
        server.start().await;
    }
    until_status(&server, 1, "sent").await;
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for mail in sink.received() {
        *times.entry(mail.mail()).or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    // Killed in the very moment of handing over: one for each connection and kill at the most.
    let uncertain: BTreeSet<i64> = ids(&server, "uncertain").await;
    assert!(uncertain.len() <= 3 * 8, "{uncertain:?}");
    let all: BTreeSet<i64> = column(&server, "select cast(id as text) from campaign_mail")
        .await
        .iter()
        .map(|id| id.parse().unwrap())
        .collect();
    let came: BTreeSet<i64> = times.keys().copied().collect();
    let lost: Vec<_> = all.difference(&came).filter(|id| !uncertain.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(counts(&server, 1).await["sent"], MAILS - uncertain.len());
    crate::support::say(&format!("uncertain after three kills: {}", uncertain.len()));
}

async fn ids(server: &Server, status: &str) -> BTreeSet<i64> {
    let query = format!("select cast(id as text) from campaign_mail where status = '{status}'");
    column(server, &query).await.iter().map(|id| id.parse().unwrap()).collect()
}

on_both!(what_a_server_says_is_understood);
async fn what_a_server_says_is_understood(database: Database) {
    let sink = Sink::acting(|to, before| match (to, before) {
        ("u1@example.org", _) => Act::Rcpt("550 5.1.1 no such user"),
        ("u2@example.org", _) => Act::Rcpt("550 5.7.1 blocked"),
        ("u3@example.org", 0 | 1) => Act::Rcpt("450 4.2.0 greylisted"),
        ("u4@example.org", _) => Act::Rcpt("451 4.3.0 never"),
        ("u5@example.org", _) => Act::End("554 5.7.1 spam"),
        ("u6@example.org", 0) => Act::End("452 4.3.1 full"),
        ("u7@example.org", 0) => Act::CutAtData,
        ("u8@example.org", 0) => Act::CutAfter,
        ("u9@example.org", 0) => Act::HangAfter,
        ("u10@example.org", 0) => Act::Hang,
        ("u11@example.org", 0) => Act::Rcpt("421 4.7.0 closing"),
        _ => Act::Take,
    })
    .await;
    let server = posting(&database, &sink).start().await;
    make_contacts(&server, 40).await;
    approve(&server, 1, "Hello", "").await;
    until_status(&server, 1, "sent").await;
    for (contact, expected) in [
        (1, "refused: the mail server refused it: 550 5.1.1 no such user"),
        (2, "refused: the mail server refused it: 550 5.7.1 blocked"),
        (3, "sent: 2.0.0 queued"),
        (4, "refused: given up after 5 tries: the mail server put it off: 451 4.3.0 never"),
        (5, "refused: the mail server refused it: 554 5.7.1 spam"),
        (6, "sent: 2.0.0 queued"),
        (7, "sent: 2.0.0 queued"),
        (10, "sent: 2.0.0 queued"),
        (11, "sent: 2.0.0 queued"),
        (12, "sent: 2.0.0 queued"),
    ] {
        assert_eq!(fate(&server, contact).await, expected, "{contact}");
    }
    for contact in [8, 9] {
        let fate = fate(&server, contact).await;
        assert!(fate.starts_with("uncertain: it was handed over"), "{fate}");
    }
    // Only a mailbox that is not there is held against the contact.
    let bounced = "select email_key from contact where bounced = 'hard'";
    assert_eq!(column(&server, bounced).await, ["u1@example.org"]);
    assert_eq!(column(&server, "select reason from suppression").await, ["bounced"]);
    let note = one(&server, "select note from campaign").await;
    assert!(note.contains("of 2 mails it is not known"), "{note}");
    // One is sent again only because somebody says so.
    assert_eq!(counts(&server, 1).await["uncertain"], 2);
    assert_eq!((sink.to("u8@example.org").len(), sink.to("u9@example.org").len()), (1, 1));
    let path = "/api/campaigns/1/uncertain";
    let decided = server.post(path, &json!({ "decision": "send" })).await;
    assert_eq!(decided.json(), json!({ "mails": 2 }));
    until("they came again", async || {
        (sink.to("u8@example.org").len() == 2 && sink.to("u9@example.org").len() == 2).then_some(())
    })
    .await;
    until_status(&server, 1, "sent").await;
    let decided = server.post(path, &json!({ "decision": "leave" })).await;
    assert_eq!(decided.json(), json!({ "mails": 0 }));
    assert_eq!(server.deeds().await[0]["action"], "campaign.decide");
    let all: BTreeSet<String> = sink.received().into_iter().map(|it| it.to).collect();
    assert_eq!(all.len(), 40 - 4);
}

on_both!(a_campaign_is_held_and_goes_on);
async fn a_campaign_is_held_and_goes_on(database: Database) {
    let sink = Sink::new().await;
    let server = posting(&database, &sink).start().await;
    make_contacts(&server, 400).await;
    // Slow enough to be held in the middle.
    approve(&server, 1, "Hello", ", per_minute = 3000").await;
    until("some are sent", async || (sink.count() > 20).then_some(())).await;
    sql(&server, "update campaign set status = 'paused' where id = 1").await;
    let claimed = "select cast(count(*) as text) from campaign_mail where status = 'claimed'";
    until("nothing is under way", async || (one(&server, claimed).await == "0").then_some(()))
        .await;
    let held = sink.count();
    assert!(held < 400);
    // Whoever unsubscribes meanwhile gets nothing.
    sql(&server, "update contact set consent = 'withdrawn' where id = 400").await;
    sql(&server, "update campaign set status = 'sending' where id = 1").await;
    until("it goes on", async || (sink.count() > held + 20).then_some(())).await;
    sql(&server, "update campaign set status = 'cancelled' where id = 1").await;
    until("nothing is under way", async || (one(&server, claimed).await == "0").then_some(()))
        .await;
    let sent = sink.count();
    assert!(sent < 400);
    assert_eq!(status(&server, 1).await, "cancelled");
    assert_eq!(counts(&server, 1).await["sent"], sent);
    approve(&server, 2, "Hello", "").await;
    until_status(&server, 2, "sent").await;
    assert_eq!(sink.count(), sent + 399);
    assert_eq!(counts(&server, 1).await["sent"], sent);
}

on_both!(a_server_that_is_away_is_waited_for);
async fn a_server_that_is_away_is_waited_for(database: Database) {
    let port = free_port();
    let server = posting_to(&database, &format!("smtp://127.0.0.1:{port}?tls=none")).start().await;
    make_contacts(&server, 20).await;
    approve(&server, 1, "Hello", "").await;
    let note = until("the trouble is told", async || {
        let note = one(&server, "select note from campaign").await;
        (!note.is_empty()).then_some(note)
    })
    .await;
    assert!(note.starts_with("the mail server cannot be reached: 127.0.0.1 port"), "{note}");
    assert_eq!(status(&server, 1).await, "sending");
    let health = server.get("/api/diagnostics/health").await;
    assert_eq!(health["health"]["parts"]["mail"]["state"], "degraded", "{health}");
    let sink = Sink::at(port).await;
    until_status(&server, 1, "sent").await;
    assert_eq!(sink.count(), 20);
    assert_eq!(one(&server, "select note from campaign").await, "");
    let health = server.get("/api/diagnostics/health").await;
    assert_eq!(health["health"]["parts"]["mail"]["state"], "ok", "{health}");
}

on_both!(another_host_sends_nothing_twice);
/// Another host takes over what a dead one was sending; it cannot know what that one handed
/// over. When it comes back, its journal tells.
async fn another_host_sends_nothing_twice(database: Database) {
    let sink = Sink::new().await;
    let mut server = posting(&database, &sink).start().await;
    make_contacts(&server, 600).await;
    approve(&server, 1, "Hello", ", per_minute = 6000").await;
    until("some are sent", async || (sink.count() > 50).then_some(())).await;
    server.kill().await;
    // As on a host whose disk this one does not see.
    let url = format!("smtp://127.0.0.1:{}?tls=none", sink.port);
    let other = Setup::replica_of(&server)
        .env("LUX_SMTP_URL", &url)
        .env("LUX_MAIL_FROM", "shop@example.com")
        .env("LUX_PUBLIC_URL", "https://lux.example.com")
        .start()
        .await;
    until("the other one has sent the rest", async || {
        (status(&server, 1).await == "sent").then_some(())
    })
    .await;
    let open = other.get("/api/campaigns/1/sending").await;
    assert!(open["uncertain"].as_i64().unwrap() >= 1, "{open}");
    drop(other);
    server.start().await;
    until("what was open is settled", async || {
        let counts = counts(&server, 1).await;
        (counts["sent"].as_i64().unwrap() + counts["uncertain"].as_i64().unwrap() == 600
            && counts["uncertain"].as_i64().unwrap() <= 8)
            .then_some(())
    })
    .await;
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for mail in sink.received() {
        *times.entry(mail.mail()).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert!(times.len() >= 592, "{}", times.len());
}

// The mail server answers while the test waits for `lux doctor`.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_in_the_clear_and_the_sign_in_is_told() {
    for tls in [Tls::Implicit, Tls::Starttls] {
        let sink = Sink::secure(tls, "ada:sw0rdfish/7731").await;
        let scheme = if tls == Tls::Implicit { "smtps" } else { "smtp" };
        let url = |password: &str| format!("{scheme}://ada:{password}@localhost:{}", sink.port);
        let set_up = |password: &str| {
            let setup = posting_to(&Database::sqlite(), &url(password));
            let file = setup.folder().join("ca.pem");
            std::fs::write(&file, sink.certificate.as_ref().unwrap()).unwrap();
            let toml = format!("[mail]\nretry = \"200ms\"\nca_file = \"{}\"\n", file.display());
            setup.toml(&toml)
        };
        let server = set_up("sw0rdfish%2F7731").start().await;
        make_contacts(&server, 30).await;
        approve(&server, 1, "Hello", "").await;
        until_status(&server, 1, "sent").await;
        assert_eq!(sink.count(), 30);
        let said = run(server.command().args(["doctor", "--json"]));
        assert!(!said.out.contains("sw0rdfish"), "{said:?}");
        let checks = said.json();
        let mail = checks["checks"].as_array().unwrap().iter().find(|it| it["name"] == "mail");
        assert_eq!(mail.unwrap()["outcome"], "ok", "{mail:?}");
        assert!(!server.log().contains("sw0rdfish"));
        drop(server);

        let server = set_up("wrong").start().await;
        let said = run(server.command().args(["doctor", "--json"]));
        let checks = said.json();
        let mail = checks["checks"].as_array().unwrap().iter().find(|it| it["name"] == "mail");
        let mail = mail.unwrap();
        assert_eq!(mail["outcome"], "fail");
        assert!(mail["detail"].as_str().unwrap().contains("refused the sign-in: 535"), "{mail}");
        make_contacts(&server, 3).await;
        approve(&server, 1, "Hello", "").await;
        until("the trouble is told", async || {
            one(&server, "select note from campaign").await.contains("sign-in").then_some(())
        })
        .await;
        assert_eq!(sink.count(), 30);
        drop(server);

        // A certificate that nobody vouches for.
        let server = posting_to(&Database::sqlite(), &url("sw0rdfish%2F7731")).start().await;
        let said = run(server.command().args(["doctor", "--json"]));
        let checks = said.json();
        let mail = checks["checks"].as_array().unwrap().iter().find(|it| it["name"] == "mail");
        assert!(mail.unwrap()["detail"].as_str().unwrap().contains("TLS with localhost failed"));
    }
}

#[tokio::test]
async fn without_a_server_a_campaign_waits_and_says_why() {
    let server = Server::plain(&Database::sqlite()).await;
    make_contacts(&server, 3).await;
    approve(&server, 1, "Hello", "").await;
    let note = until("it says why", async || {
        let note = one(&server, "select note from campaign").await;
        (!note.is_empty()).then_some(note)
    })
    .await;
    assert!(note.starts_with("mail is not set up; name the server with LUX_SMTP_URL"), "{note}");
    let answer = server.request_as(Role::Read, reqwest::Method::GET, "/api/campaigns/1/sending");
    assert_eq!(answer.send().await.unwrap().status(), 200);
}
