//! Who wants mail, and who said no.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::json;

use super::{add, begun, contacts, upload};
use crate::contacts::{credential, zapier};
use crate::contract::patient;
use crate::mail::{
    posting,
    sink::{Act, Sink},
};
use crate::support::{Answer, Database, Role, on_both, until};

on_both!(the_person_says_yes_once);
async fn the_person_says_yes_once(database: Database) {
    let server = patient(&database).await;
    let id = add(&server, json!({ "email": "ada@example.com", "source": "Newsletter" })).await;
    // A question as it is kept: its link is only in the mail.
    let ask = async |token: &str, key: &str, ends: &str| {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let sql = format!(
            "insert into contact_confirmation (hash, organization_id, contact_id, email_key,
                 source, wording, made_by, created_at, expires_at)
             values ('{}', 1, {id}, '{key}', 'form', 'Our <b>monthly</b> mail', 'x',
                 '2026-01-01T00:00:00+00:00', '{ends}')",
            URL_SAFE_NO_PAD.encode(hash)
        );
        server.database().execute(&server.data(), &sql).await;
    };
    let (past, future) = ("2026-01-02T00:00:00+00:00", "2046-01-01T00:00:00+00:00");
    ask("late", "ada@example.com", past).await;
    ask("other", "eve@example.com", future).await;
    ask("good", "ada@example.com", future).await;
    let no = json!({ "email": "ada@example.com" });
    assert_eq!(server.post("/api/suppressions", &no).await.status, 204);
    let call = async |method: Method, token: &str| {
        Answer::of(server.request(method, &format!("/confirm/{token}"))).await
    };
    for (token, status) in [("late", 404), ("nothing", 404), ("other", 409)] {
        assert_eq!(call(Method::POST, token).await.status, status, "{token}");
    }
    // Programs that look at links in mails change nothing.
    for _ in 0..2 {
        let page = call(Method::GET, "good").await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.text.contains("Our &#60;b&#62;monthly"), "{page:?}");
    }
    assert_eq!(contacts(&server, "").await[0]["consent"], "withdrawn");
    assert_eq!(call(Method::POST, "good").await.status, 200);
    assert_eq!(contacts(&server, "").await[0]["consent"], "confirmed");
    let words = server.get(&format!("/api/contacts/{id}/consent")).await["consents"].clone();
    assert_eq!(words[0]["source"], "double opt-in, form");
    assert_eq!(words[0]["address"], "127.0.0.1");
    assert_eq!(server.get("/api/suppressions").await["suppressions"], json!([]));
    for method in [Method::GET, Method::POST] {
        assert_eq!(call(method, "good").await.status, 404);
    }
}

on_both!(somebody_is_asked_by_mail);
async fn somebody_is_asked_by_mail(database: Database) {
    let ask = json!({ "source": "newsletter form", "wording": "You asked for our monthly mail." });
    let sink = Sink::new().await;
    let server = posting(&database, &sink).env("LUX_GUESSES_PER_MINUTE", "1000").start().await;
    let id = add(&server, json!({ "email": "Ada@example.com", "source": "Newsletter" })).await;
    let path = format!("/api/contacts/{id}/confirmation");
    let asked = server.post(&path, &ask).await;
    assert_eq!(asked.status, 200, "{asked:?}");
    assert_eq!(asked.json()["consent"], "pending");
    let mails = sink.to("Ada@example.com");
    assert_eq!(mails.len(), 1);
    let body = mails[0].body();
    assert!(body.contains("You asked for our monthly mail."), "{body}");
    let token = body.split("https://lux.example.com/confirm/").nth(1).unwrap();
    let token = token.split_whitespace().next().unwrap().to_owned();
    assert_eq!(token.len(), 43, "{body}");
    let hashes = "select hash from contact_confirmation";
    let kept = server.database().column(&server.data(), hashes).await;
    assert!(!kept.contains(&token), "the link itself is kept");
    // Twice within two days, and then no more.
    assert_eq!(server.post(&path, &ask).await.status, 200);
    server.post(&path, &ask).await.problem(409);
    let said = Answer::of(server.request(Method::POST, &format!("/confirm/{token}"))).await;
    assert_eq!(said.status, 200, "{said:?}");
    assert_eq!(server.get(&format!("/api/contacts/{id}")).await["consent"], "confirmed");
    server.post(&path, &ask).await.problem(409);
}

on_both!(who_says_yes_in_a_form_is_asked_once);
async fn who_says_yes_in_a_form_is_asked_once(database: Database) {
    // Of one, the first mail is put off.
    let sink = Sink::acting(|to, before| match (to, before) {
        ("later@example.com", 0..3) => Act::Rcpt("451 4.7.1 come again"),
        ("never@example.com", _) => Act::Rcpt("550 5.1.1 nobody"),
        _ => Act::Take,
    })
    .await;
    let mut server = posting(&database, &sink).start().await;
    let who = credential(&server, "zapier");
    let form = |email: &str, more: &str| {
        json!({ "email": email, "source": "Footer form", "opt_in": "yes", "note": more,
            "consent_text": "Buy pills at https://evil.example" })
    };
    let no = json!({ "email": "no@example.com" });
    assert_eq!(server.post("/api/suppressions", &no).await.status, 204);
    for email in ["ada@example.com", "no@example.com", "later@example.com", "never@example.com"] {
        assert_eq!(zapier(&server, &who, &form(email, "")).await.status, 201);
    }
    assert_eq!(zapier(&server, &who, &json!({ "email": "eve@example.com" })).await.status, 201);
    let asked = async |to: &str| {
        until("the question comes", async || (sink.to(to).len() == 1).then_some(())).await;
        sink.to(to).remove(0)
    };
    let body = asked("ada@example.com").await.body();
    assert!(body.contains("we hope it was you") && body.contains("mail from Shop"), "{body}");
    // Anybody can fill in a form with anybody's address, and anything.
    assert!(!body.contains("pills") && !body.contains("evil"), "{body}");
    let sql = "select cast(count(*) as text) from contact_unasked where tries > 0";
    until("it is tried later", async || {
        let later = server.database().column(&server.data(), sql).await;
        (later == ["1"]).then_some(())
    })
    .await;
    let soon = "update contact_unasked set next_at = at";
    server.database().execute(&server.data(), soon).await;
    asked("later@example.com").await;

    // The same form again, also after a restart, asks nobody again; nor does the contact anew.
    for more in ["again", "and again"] {
        assert_eq!(zapier(&server, &who, &form("ada@example.com", more)).await.status, 200);
        server.kill().await;
        server.start().await;
    }
    let contact = contacts(&server, "q=ada").await[0].clone();
    assert_eq!(contact["consent"], "pending");
    let path = format!("/api/contacts/{}", contact["id"]);
    let gone = server.request_as(Role::Operator, Method::DELETE, &path);
    assert_eq!(Answer::of(gone).await.status, 204);
    assert_eq!(zapier(&server, &who, &form("ada@example.com", "")).await.status, 201);
    assert_eq!(zapier(&server, &who, &form("last@example.com", "")).await.status, 201);
    asked("last@example.com").await;
    until("nobody waits", async || {
        let sql = "select cast(count(*) as text) from contact_unasked";
        (server.database().column(&server.data(), sql).await == ["0"]).then_some(())
    })
    .await;
    let mut to: Vec<String> = sink.received().into_iter().map(|it| it.to).collect();
    to.sort_unstable();
    assert_eq!(to, ["ada@example.com", "last@example.com", "later@example.com"]);

    // The link of the mail is the yes, and what the form said is kept as what they agreed to.
    let mail = sink.to("last@example.com").remove(0).body();
    let token = mail.split("https://lux.example.com/confirm/").nth(1).unwrap();
    let token = token.split_whitespace().next().unwrap();
    let said = Answer::of(server.request(Method::POST, &format!("/confirm/{token}"))).await;
    assert_eq!(said.status, 200, "{said:?}");
    let last = contacts(&server, "q=last").await[0].clone();
    assert_eq!(last["consent"], "confirmed");
    let words = server.get(&format!("/api/contacts/{}/consent", last["id"])).await;
    assert_eq!(words["consents"][0]["source"], "double opt-in, Footer form");
    assert_eq!(words["consents"][0]["wording"], "Buy pills at https://evil.example");
}

#[tokio::test]
async fn without_mail_nobody_is_asked() {
    let server = patient(&Database::sqlite()).await;
    let who = credential(&server, "zapier");
    let form = json!({ "email": "ada@example.com", "opt_in": "yes" });
    assert_eq!(zapier(&server, &who, &form).await.status, 201);
    assert_eq!(contacts(&server, "").await[0]["consent"], "pending");
    // What nobody knows any more is not asked either, once mail is set up.
    let sql = "update contact_unasked set at = '2026-01-01T00:00:00+00:00'";
    server.database().execute(&server.data(), sql).await;
    until("it is forgotten", async || {
        let sql = "select cast(count(*) as text) from contact_unasked";
        (server.database().column(&server.data(), sql).await == ["0"]).then_some(())
    })
    .await;
}

on_both!(who_said_no_stays_out);
async fn who_said_no_stays_out(database: Database) {
    let server = patient(&database).await;
    let id = add(&server, json!({ "email": "Ada@example.com", "source": "Newsletter" })).await;
    let ask = json!({ "source": "form", "wording": "Our mail" });
    let refused = server.post(&format!("/api/contacts/{id}/confirmation"), &ask).await;
    assert!(refused.problem(409).contains("[mail]"), "{refused:?}");
    let path = format!("/api/contacts/{id}/consent");
    for wrong in [
        json!({ "status": "confirmed", "source": " " }),
        json!({ "status": "pending", "source": "x" }),
        json!({ "status": "perhaps", "source": "x" }),
    ] {
        server.post(&path, &wrong).await.problem(400);
    }
    let yes = json!({ "status": "confirmed", "source": "paper form", "wording": "I want mail" });
    assert_eq!(server.post(&path, &yes).await.json()["consent"], "confirmed");
    let no = json!({ "status": "withdrawn", "source": "told on the telephone" });
    assert_eq!(server.post(&path, &no).await.json()["consent"], "withdrawn");
    let words = server.get(&path).await["consents"].clone();
    assert_eq!(words[0]["status"], "withdrawn");
    assert_eq!(
        (&words[1]["source"], &words[1]["wording"]),
        (&json!("paper form"), &json!("I want mail"))
    );
    server.post(&path, &yes).await.problem(409);
    let list = server.get("/api/suppressions").await;
    assert_eq!(list["suppressions"][0]["reason"], "unsubscribed");
    assert!(!list.to_string().contains("ada"), "{list}");

    // Neither a form nor a file makes that a yes, not even after the contact is gone.
    for erased in [false, true] {
        if erased {
            let path = format!("/api/contacts/{id}/erase");
            assert_eq!(server.post(&path, &json!({ "confirm": id })).await.status, 204);
        }
        let import = upload(&server, "x.csv", "email,consent\nada@EXAMPLE.com,yes\n").await;
        let word = json!({ "consent": { "source": "their list", "everybody": true } });
        let import =
            server.patch(&format!("/api/contacts/imports/{}", import["id"]), &word).await.json();
        begun(&server, &import, false).await;
        let told = json!({ "email": "ada@example.com", "consent": { "status": "confirmed", "source": "x" } });
        server.post("/api/contacts", &told).await;
        let all = contacts(&server, "").await;
        assert_eq!(all.len(), 1);
        assert!(all[0]["consent"] != "confirmed", "{all:?}");
    }

    // Only an operator who says why takes an address off; that is no yes either.
    let wrong = json!({ "email": "eve@example.com", "reason": "x" });
    server.post("/api/suppressions/remove", &wrong).await.problem(404);
    let off = json!({ "email": "ada@example.com", "reason": "asked for it" });
    assert_eq!(server.post("/api/suppressions/remove", &off).await.status, 204);
    let all = contacts(&server, "").await;
    assert_eq!(all[0]["consent"], "none");
    let path = format!("/api/contacts/{}/consent", all[0]["id"]);
    assert_eq!(server.post(&path, &yes).await.json()["consent"], "confirmed");
    assert_eq!(
        server.post("/api/suppressions", &json!({ "email": "ADA@example.com" })).await.status,
        204
    );
    assert_eq!(contacts(&server, "").await[0]["consent"], "withdrawn");
}
