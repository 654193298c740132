//! Unsubscribing, taking it back, opens and clicks.

use reqwest::{Method, header::LOCATION};

use super::{approve, column, counts, fate, make_contacts, one, posting, sink::Sink, until_status};
use crate::support::{Answer, Database, Server, on_both};

/// The path of the link that a mail's header has.
fn path(link: &str) -> String {
    link.trim_matches(['<', '>']).strip_prefix("https://lux.example.com").unwrap().to_owned()
}

async fn get(server: &Server, path: &str) -> Answer {
    Answer::of(server.request(Method::GET, path)).await
}

async fn post(server: &Server, path: &str, body: &'static str) -> Answer {
    let request = server.request(Method::POST, path).body(body);
    let form = "application/x-www-form-urlencoded";
    // As mail programs do it: from anywhere, without cookies.
    let request = request.header("content-type", form).header("origin", "https://mail.example");
    Answer::of(request.header("sec-fetch-site", "cross-site")).await
}

/// Status and place of a redirect that is not followed.
async fn follow(server: &Server, path: &str) -> (u16, Option<String>) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.no_proxy().build().unwrap();
    let answer = client.get(format!("{}{path}", server.base)).send().await.unwrap();
    let to = answer.headers().get(LOCATION).map(|to| to.to_str().unwrap().to_owned());
    (answer.status().as_u16(), to)
}

async fn consent(server: &Server, contact: i64) -> String {
    one(server, &format!("select consent from contact where id = {contact}")).await
}

on_both!(whoever_wants_no_more_mail_gets_none);
async fn whoever_wants_no_more_mail_gets_none(database: Database) {
    let sink = Sink::new().await;
    let server = posting(&database, &sink).start().await;
    make_contacts(&server, 3).await;
    approve(&server, 1, "Hello", "").await;
    until_status(&server, 1, "sent").await;
    let link = |to: &str| path(&sink.to(to)[0].header("List-Unsubscribe"));
    let (first, second) = (link("u1@example.org"), link("u2@example.org"));

    // Looking changes nothing, however often.
    for _ in 0..3 {
        let page = get(&server, &first).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("u…@example.org") && page.text.contains("Unsubscribe</button>"));
        assert!(!page.text.contains("u1@example.org") && !page.text.contains("<script"));
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    assert_eq!(consent(&server, 1).await, "confirmed");

    // One click by the mail program; twice is once.
    for _ in 0..2 {
        let page = post(&server, &first, "List-Unsubscribe=One-Click").await;
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.text.contains("No more mail"), "{page:?}");
    }
    assert_eq!(consent(&server, 1).await, "withdrawn");
    let proof =
        "select status || ' ' || source || ' ' || wording || ' ' || address from contact_consent";
    assert_eq!(column(&server, proof).await, ["withdrawn unsubscribe link one click 127.0.0.1"]);
    let happened = "select kind from contact_activity where contact_id = 1 order by id";
    assert_eq!(column(&server, happened).await, ["mailed", "unsubscribed"]);
    // By the button of the page.
    assert_eq!(post(&server, &second, "do=leave").await.status, 200);
    assert_eq!(consent(&server, 2).await, "withdrawn");
    assert_eq!(counts(&server, 1).await["unsubscribed"], 2);
    let hashes = column(&server, "select email_hash from suppression").await;
    assert_eq!(hashes.len(), 2);
    assert!(hashes.iter().all(|hash| !hash.contains("example")), "{hashes:?}");

    // Taking it back works by that button alone.
    let page = get(&server, &second).await;
    assert!(page.text.contains("Undo: send me mail again"), "{page:?}");
    let page = post(&server, &second, "do=undo").await;
    assert!(page.text.contains("Unsubscribe</button>"), "{page:?}");
    assert_eq!(consent(&server, 2).await, "confirmed");
    assert_eq!(counts(&server, 1).await["unsubscribed"], 1);

    // The list holds even if somebody sets the consent anew.
    super::sql(&server, "update contact set consent = 'confirmed' where id = 1").await;
    approve(&server, 2, "Hello again", "").await;
    until_status(&server, 2, "sent").await;
    assert!(fate(&server, 1).await.starts_with("skipped: the address is on the list"));
    assert_eq!(sink.to("u1@example.org").len(), 1);
    assert_eq!(sink.to("u2@example.org").len(), 2);

    // Who complained cannot come back by a link.
    super::sql(&server, "update suppression set reason = 'complained'").await;
    let page = post(&server, &first, "do=undo").await;
    assert!(!page.text.contains("<button"), "{page:?}");
    assert_eq!(column(&server, "select reason from suppression").await, ["complained"]);
}

#[tokio::test]
async fn nobody_can_make_a_link_for_somebody_else() {
    let sink = Sink::new().await;
    let server = posting(&Database::sqlite(), &sink).start().await;
    make_contacts(&server, 2).await;
    approve(&server, 1, "Hello", "").await;
    until_status(&server, 1, "sent").await;
    let link = path(&sink.to("u1@example.org")[0].header("List-Unsubscribe"));
    let mut wrong = vec!["/u/x".to_owned(), format!("/u/{}", "A".repeat(43)), format!("{link}A")];
    for at in 3..link.len() {
        let other = if &link[at..=at] == "A" { "B" } else { "A" };
        wrong.push(format!("{}{other}{}", &link[..at], &link[at + 1..]));
    }
    // A token is good for what it was made for.
    wrong.push(link.replace("/u/", "/c/"));
    for path in &wrong {
        assert_eq!(get(&server, path).await.status, 404, "{path}");
        if path.starts_with("/u/") {
            assert_eq!(post(&server, path, "do=leave").await.status, 404, "{path}");
        }
    }
    assert_eq!(column(&server, "select consent from contact").await, ["confirmed", "confirmed"]);
}

on_both!(opens_and_clicks_count_where_they_are_to);
async fn opens_and_clicks_count_where_they_are_to(database: Database) {
    let sink = Sink::new().await;
    let server = posting(&database, &sink).start().await;
    make_contacts(&server, 1).await;
    let body = "See [us](https://shop.example.com/autumn?a=1&b=2) or [it](https://example.net/).";
    approve(&server, 1, body, ", counts_opens = true, counts_clicks = true").await;
    until_status(&server, 1, "sent").await;
    let html = sink.received()[0].html();
    let links: Vec<String> = html
        .split('"')
        .filter_map(|it| it.strip_prefix("https://lux.example.com"))
        .map(str::to_owned)
        .collect();
    let one_of = |kind: &str| links.iter().filter(|it| it.starts_with(kind)).collect::<Vec<_>>();
    assert_eq!(
        (one_of("/c/").len(), one_of("/o/").len(), one_of("/u/").len()),
        (2, 1, 1),
        "{html}"
    );
    for (path, target) in one_of("/c/")
        .into_iter()
        .zip(["https://shop.example.com/autumn?a=1&b=2", "https://example.net/"])
    {
        assert_eq!(counts(&server, 1).await["clicked"], i64::from(target.contains(".net")));
        // A token is good for what it was made for.
        assert_eq!(get(&server, &path.replace("/c/", "/u/")).await.status, 404);
        let answer = follow(&server, path).await;
        assert_eq!((answer.0, answer.1.as_deref()), (303, Some(target)));
    }
    for _ in 0..2 {
        get(&server, one_of("/o/")[0]).await;
        let counts = counts(&server, 1).await;
        assert_eq!((&counts["opened"], &counts["clicked"]), (&1.into(), &1.into()));
    }
    // Where nothing is counted, nothing leads by way of Lux.
    approve(&server, 2, body, "").await;
    until_status(&server, 2, "sent").await;
    let html = sink.received()[1].html();
    assert!(html.contains("href=\"https://example.net/\"") && !html.contains("/c/"), "{html}");
    assert!(!html.contains("<img"), "{html}");
    let opened = counts(&server, 1).await["opened"].clone();
    // Any address gives the picture; only one of ours counts.
    for file in ["x.gif", "AAAA", "..%2f..%2fetc.gif"] {
        let dot = get(&server, &format!("/o/{file}")).await;
        assert_eq!(dot.status, 200, "{file}");
        assert_eq!(dot.headers["content-type"], "image/gif");
    }
    assert_eq!(counts(&server, 1).await["opened"], opened);
    for target in ["x", "https://evil.example/", "%2f%2fevil.example"] {
        let answer = get(&server, &format!("/c/{target}")).await;
        assert_eq!(answer.status, 404, "{target}");
        assert!(!answer.headers.contains_key(LOCATION), "{target}");
    }
}
