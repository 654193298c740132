//! Whose account it is that a provider vouches for: each row of the table, and many at once.

use std::time::Duration;

use lux::{
    auth::{
        OrganizationId, Role,
        account::{self, Account, Arrived, Carried, Change, Identity, Refusal, Status, arrive},
        invitation, link, session,
    },
    config::{SignIn, Signup},
    db::Db,
};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::both::on_both;

const HERE: OrganizationId = OrganizationId::FIRST;

fn by_invitation() -> SignIn {
    SignIn {
        signup: Signup::Invited,
        domains: Vec::new(),
        idle: Duration::from_hours(12),
        absolute: Duration::from_hours(7 * 24),
    }
}

fn open() -> SignIn {
    SignIn { signup: Signup::Open, ..by_invitation() }
}

/// "ada" of Replit with a verified address; `subject` is all that identifies her.
fn identity(subject: &str, email: &str) -> Identity {
    Identity {
        issuer: "https://replit.com/oidc".to_owned(),
        subject: subject.to_owned(),
        email: Some(email.to_owned()),
        email_verified: true,
        name: Some("Ada".to_owned()),
        picture: None,
    }
}

fn with(link: &link::Made) -> Carried {
    Carried { link_token: Some(link.token.expose_secret().to_owned()), ..Carried::default() }
}

async fn come(db: &Db, identity: &Identity, carried: &Carried, config: &SignIn) -> Arrived {
    arrive(db, HERE, identity, carried, config).await.unwrap()
}

async fn let_in(db: &Db, identity: &Identity, carried: &Carried, config: &SignIn) -> Account {
    match come(db, identity, carried, config).await {
        Arrived::SignedIn(account) => account,
        Arrived::Refused(refusal) => panic!("{identity:?} was refused: {refusal:?}"),
    }
}

async fn refused(db: &Db, identity: &Identity, carried: &Carried, config: &SignIn) -> Refusal {
    match come(db, identity, carried, config).await {
        Arrived::SignedIn(account) => panic!("{identity:?} was let in as {account:?}"),
        Arrived::Refused(refusal) => refusal,
    }
}

/// A database with an administrator, who came by the set-up link.
async fn set_up(url: &str) -> (Db, Account) {
    let db = Db::connect(url, 8).await.unwrap();
    let setup = link::for_setup(&db, HERE).await.unwrap();
    let admin = identity("1", "root@example.com");
    let admin = let_in(&db, &admin, &with(&setup), &by_invitation()).await;
    assert_eq!((admin.role, admin.status), (Role::Admin, Status::Active));
    (db, admin)
}

async fn accounts(db: &Db) -> Vec<Account> {
    account::list(db, HERE).await.unwrap()
}

/// The newest entries of the audit log: action, actor and detail.
async fn audit(db: &Db) -> Vec<(String, String, Value)> {
    let (entries, _) =
        lux::auth::audit::list(db, HERE, &lux::auth::audit::Filter::default(), 50, None)
            .await
            .unwrap();
    entries.into_iter().map(|entry| (entry.action, entry.actor, entry.detail.0)).collect()
}

async fn noted(db: &Db, action: &str) -> Value {
    let entries = audit(db).await;
    let found = entries.iter().find(|(done, ..)| done == action);
    found.unwrap_or_else(|| panic!("no {action} in {entries:?}")).2.clone()
}

on_both! {
    async fn nobody_is_first_without_the_set_up_link(url: &str) {
        let db = Db::connect(url, 8).await.unwrap();
        let ada = identity("7", "ada@example.com");
        let anybody = SignIn { domains: vec!["example.com".to_owned()], ..open() };
        let none = Carried::default();
        assert_eq!(refused(&db, &ada, &none, &anybody).await, Refusal::NotSetUp);
        let wrong = Carried { link_token: Some("A".repeat(43)), ..Carried::default() };
        assert_eq!(refused(&db, &ada, &wrong, &anybody).await, Refusal::NotSetUp);
        assert!(accounts(&db).await.is_empty());
        assert_eq!(noted(&db, "sign_in.refuse").await["why"], "NotSetUp");

        let setup = link::for_setup(&db, HERE).await.unwrap();
        let admin = let_in(&db, &ada, &with(&setup), &by_invitation()).await;
        assert_eq!((admin.role, admin.email.as_deref()), (Role::Admin, Some("ada@example.com")));
        assert_eq!(noted(&db, "account.create").await["role"], "admin");
        // It worked once, and there is no other while there is an administrator.
        let eve = identity("8", "eve@example.com");
        let again = refused(&db, &eve, &with(&setup), &by_invitation()).await;
        assert_eq!(again, Refusal::NotInvited);
        let error = link::for_setup(&db, HERE).await.err().unwrap().to_string();
        assert!(error.contains("lux login-link"), "{error}");
        assert_eq!(accounts(&db).await.len(), 1);
        db.close().await;
    }

    async fn who_is_known_is_known_by_issuer_and_subject(url: &str) {
        let (db, admin) = set_up(url).await;
        let none = Carried::default();
        // Another address, no address, one that is not verified: the same person, the same role.
        for (email, verified) in
            [(Some("new@example.com"), true), (None, false), (Some("x@example.com"), false)]
        {
            let mut again = identity("1", "");
            (again.email, again.email_verified) = (email.map(str::to_owned), verified);
            let account = let_in(&db, &again, &none, &by_invitation()).await;
            assert_eq!((account.id, account.role), (admin.id, Role::Admin));
            // What the account is found by stays what it was.
            assert_eq!(account.email.as_deref(), Some("root@example.com"));
        }
        assert_eq!(
            noted(&db, "identity.email").await["email"],
            serde_json::json!([null, "x@example.com"])
        );
        let linked = account::linked(&db, HERE, Some(admin.id)).await.unwrap();
        assert_eq!(linked[0].email.as_deref(), Some("x@example.com"));
        // The same subject of another issuer is somebody else.
        let mut other = identity("1", "other@example.com");
        "https://evil.example".clone_into(&mut other.issuer);
        assert_eq!(refused(&db, &other, &none, &by_invitation()).await, Refusal::NotInvited);
        // And the address that the administrator had for a while does not lead there.
        let next = identity("2", "new@example.com");
        assert_eq!(refused(&db, &next, &none, &by_invitation()).await, Refusal::NotInvited);
        assert_eq!(accounts(&db).await.len(), 1);
        db.close().await;
    }

    async fn who_may_sign_up_is_a_customer(url: &str) {
        let (db, _) = set_up(url).await;
        let none = Carried::default();
        let ada = identity("7", "Ada@EXAMPLE.com");
        assert_eq!(refused(&db, &ada, &none, &by_invitation()).await, Refusal::NotInvited);
        let of_domain =
            |domain: &str| SignIn { domains: vec![domain.to_owned()], ..by_invitation() };
        for other in ["ample.com", "sub.example.com", "example.com.evil.example", "com"] {
            let refusal = refused(&db, &ada, &none, &of_domain(other)).await;
            assert_eq!(refusal, Refusal::NotInvited, "{other}");
        }
        let mut unverified = ada.clone();
        unverified.email_verified = false;
        let refusal = refused(&db, &unverified, &none, &of_domain("example.com")).await;
        assert_eq!(refusal, Refusal::NotInvited);
        let account = let_in(&db, &ada, &none, &of_domain("example.com")).await;
        assert_eq!(account.role, Role::Customer);
        let bob = let_in(&db, &identity("8", "bob@other.example"), &none, &open()).await;
        assert_eq!(bob.role, Role::Customer);
        assert_eq!(accounts(&db).await.len(), 3);
        db.close().await;
    }

    async fn an_invitation_is_for_whom_it_names(url: &str) {
        let (db, _) = set_up(url).await;
        let none = Carried::default();
        let invite = async |role, email: Option<&str>| {
            invitation::create(&db, HERE, "root", role, email).await.unwrap()
        };
        // By the address alone, if it is verified.
        let (one, link) = invite(Role::Operator, Some("Ada@Example.com")).await;
        let mut ada = identity("7", "ada@example.COM");
        ada.email_verified = false;
        let config = by_invitation();
        assert_eq!(refused(&db, &ada, &none, &config).await, Refusal::NotInvited);
        assert_eq!(refused(&db, &ada, &with(&link), &config).await, Refusal::NotInvited);
        // The link of somebody else's invitation is of no use either.
        let eve = identity("9", "eve@example.com");
        assert_eq!(refused(&db, &eve, &with(&link), &config).await, Refusal::NotInvited);
        ada.email_verified = true;
        let account = let_in(&db, &ada, &none, &config).await;
        assert_eq!(account.role, Role::Operator);
        let listed = invitation::list(&db, HERE).await.unwrap();
        assert_eq!((listed[0].id, listed[0].account_id), (one.id, Some(account.id)));
        // Its link is used up with it.
        assert!(link::look(&db, link.token.expose_secret()).await.is_err());

        // For nobody in particular: whoever has the link, once.
        let (_, link) = invite(Role::Admin, None).await;
        let mut bob = identity("8", "bob@example.com");
        bob.email_verified = false;
        let bob = let_in(&db, &bob, &with(&link), &config).await;
        assert_eq!(bob.role, Role::Admin);
        assert_eq!(refused(&db, &eve, &with(&link), &config).await, Refusal::NotInvited);

        // Withdrawn.
        let (made, link) = invite(Role::Operator, Some("eve@example.com")).await;
        invitation::withdraw(&db, HERE, "root", made.id).await.unwrap();
        assert_eq!(refused(&db, &eve, &with(&link), &config).await, Refusal::NotInvited);
        assert!(invitation::withdraw(&db, HERE, "root", made.id).await.is_err());
        let elsewhere = invitation::withdraw(&db, OrganizationId(2), "root", one.id).await;
        assert!(elsewhere.is_err());
        // Who is here already is not invited.
        let error = invitation::create(&db, HERE, "root", Role::Operator, Some("ADA@example.com"));
        let error = error.await.err().unwrap().to_string();
        assert!(error.contains("there is an account with that address"), "{error}");
        for role in [Role::Ingest, Role::Read] {
            assert!(invitation::create(&db, HERE, "root", role, None).await.is_err());
        }
        db.close().await;
    }

    async fn an_address_links_only_what_nobody_else_has_claimed(url: &str) {
        let (db, admin) = set_up(url).await;
        let none = Carried::default();
        // Made by an invitation's link, without a provider.
        let (_, link) =
            invitation::create(&db, HERE, "root", Role::Operator, Some("zo\u{eb}@m\u{fc}nchen.example"))
                .await
                .unwrap();
        let new = session::New {
            config: &by_invitation(),
            provider: None,
            user_agent: None,
            address: None,
            replaces: None,
        };
        link::take(&db, link.token.expose_secret(), Some(" Zoë\n B. "), new).await.unwrap();
        let ada = account::find_by_email(&db, HERE, "zo\u{eb}@m\u{fc}nchen.example").await.unwrap();
        assert_eq!((ada.role, ada.name.as_str()), (Role::Operator, "Zoë B."));
        let spelled = "ZOE\u{308}@xn--mnchen-3ya.EXAMPLE";
        // (Only ASCII is of one case.)
        let spelled = spelled.replace("ZOE\u{308}", "Zoe\u{308}");
        let mut google = identity("g-1", &spelled);
        "https://accounts.google.com".clone_into(&mut google.issuer);

        // Not verified: as if the address were unknown, under either rule.
        google.email_verified = false;
        let config = by_invitation();
        assert_eq!(refused(&db, &google, &none, &config).await, Refusal::NotInvited);
        let unknown = identity("nobody", "nobody@example.com");
        assert_eq!(refused(&db, &unknown, &none, &config).await, Refusal::NotInvited);
        let mut spoof = google.clone();
        "g-2".clone_into(&mut spoof.subject);
        let other = let_in(&db, &spoof, &none, &open()).await;
        assert_ne!(other.id, ada.id);
        assert_eq!(other.role, Role::Customer);

        google.email_verified = true;
        let linked = let_in(&db, &google, &none, &config).await;
        assert_eq!((linked.id, linked.role), (ada.id, Role::Operator));
        assert_eq!(noted(&db, "identity.link").await["subject"], "g-1");
        // From now on somebody vouches for it in another way.
        let replit = identity("7", &spelled);
        assert_eq!(refused(&db, &replit, &none, &open()).await, Refusal::LinkFirst);
        let root = identity("r-2", "ROOT@example.com");
        assert_eq!(refused(&db, &root, &none, &open()).await, Refusal::LinkFirst);
        assert_eq!(noted(&db, "sign_in.refuse").await["why"], "LinkFirst");

        // Asked for while signed in, it is linked, whatever the address.
        let asked = |account: i64| Carried { linking: Some(account), ..Carried::default() };
        let linked = let_in(&db, &replit, &asked(ada.id), &config).await;
        assert_eq!(linked.id, ada.id);
        assert_eq!(let_in(&db, &replit, &none, &config).await.id, ada.id);
        // It is not taken from whom it belongs to.
        assert_eq!(refused(&db, &replit, &asked(admin.id), &config).await, Refusal::Taken);
        assert_eq!(let_in(&db, &replit, &asked(ada.id), &config).await.id, ada.id);
        assert_eq!(account::linked(&db, HERE, Some(ada.id)).await.unwrap().len(), 2);
        db.close().await;
    }

    async fn a_login_link_vouches_for_its_account(url: &str) {
        let (db, _) = set_up(url).await;
        let (made, local) = link::for_login(&db, HERE, None).await.unwrap();
        assert_eq!((local.role, local.name.as_str()), (Role::Admin, "local admin"));
        let ada = identity("7", "ada@example.com");
        let config = by_invitation();
        assert_eq!(let_in(&db, &ada, &with(&made), &config).await.id, local.id);
        assert_eq!(let_in(&db, &ada, &Carried::default(), &config).await.id, local.id);
        let eve = identity("8", "eve@example.com");
        assert_eq!(refused(&db, &eve, &with(&made), &config).await, Refusal::NotInvited);
        // There is one such account.
        assert_eq!(link::for_login(&db, HERE, None).await.unwrap().1.id, local.id);
        db.close().await;
    }

    async fn a_disabled_account_lets_nobody_in(url: &str) {
        let (db, admin) = set_up(url).await;
        let (_, link) =
            invitation::create(&db, HERE, "root", Role::Admin, Some("ada@example.com")).await.unwrap();
        let none = Carried::default();
        let (ada, config) = (identity("7", "ada@example.com"), by_invitation());
        let account = let_in(&db, &ada, &with(&link), &config).await;
        let new = || session::New {
            config: &config,
            provider: Some("replit"),
            user_agent: None,
            address: None,
            replaces: None,
        };
        session::start(&db, &account, new()).await.unwrap();
        let change = |version, role, status| Change { role, status, version };
        let disabled = Some(Status::Disabled);
        let is = account::change(&db, HERE, "root", account.id, change(1, None, disabled)).await;
        assert_eq!(is.unwrap().version, 2);
        assert!(session::list(&db, HERE, account.id).await.unwrap().is_empty());
        assert_eq!(noted(&db, "account.change").await["sessions_ended"], 1);
        assert_eq!(refused(&db, &ada, &none, &config).await, Refusal::Disabled);
        // Neither by another way, nor with the account that was looked at before.
        let asked = Carried { linking: Some(account.id), ..Carried::default() };
        let other = identity("70", "other@example.com");
        assert_eq!(refused(&db, &other, &asked, &config).await, Refusal::Disabled);
        assert!(session::start(&db, &account, new()).await.is_err());
        assert!(link::for_login(&db, HERE, Some(&accounts(&db).await[1])).await.is_err());

        // The last administrator stays.
        for change in
            [change(1, Some(Role::Operator), None), change(1, None, disabled)]
        {
            let error = account::change(&db, HERE, "root", admin.id, change).await.unwrap_err();
            assert!(error.to_string().contains("last active administrator"), "{error}");
        }
        // A change of what was not looked at, of a role that people do not have, of nobody.
        let stale = account::change(&db, HERE, "root", account.id, change(1, None, None)).await;
        assert!(stale.unwrap_err().to_string().contains("at version 2"));
        let ingest = change(2, Some(Role::Ingest), None);
        assert!(account::change(&db, HERE, "root", account.id, ingest).await.is_err());
        let back = change(2, Some(Role::Customer), Some(Status::Active));
        assert!(account::change(&db, OrganizationId(2), "root", account.id, back).await.is_err());
        account::change(&db, HERE, "root", account.id, back).await.unwrap();
        assert_eq!(let_in(&db, &ada, &none, &config).await.role, Role::Customer);
        db.close().await;
    }

    async fn an_account_has_so_many_sessions_and_no_more(url: &str) {
        let (db, admin) = set_up(url).await;
        let config = by_invitation();
        let mut started = Vec::new();
        for _ in 0..52 {
            let new = session::New {
                config: &config,
                provider: Some("replit"),
                user_agent: Some("a browser\0 of a long name"),
                address: None,
                replaces: None,
            };
            started.push(session::start(&db, &admin, new).await.unwrap().session);
        }
        let listed = session::list(&db, HERE, admin.id).await.unwrap();
        let listed: Vec<_> = listed.into_iter().map(|it| it.id).collect();
        started.reverse();
        assert_eq!(listed, started[..50]);
        // What a provider gives for a session goes with it.
        let at = lux::clock::now();
        session::set_refresh(&db, listed[0], "lx1.sealed", at).await.unwrap();
        assert!(session::is_fresh(&db, listed[0]).await.unwrap());
        session::end(&db, listed[0], "the provider says so").await.unwrap();
        assert_eq!(noted(&db, "session.end").await["why"], "the provider says so");
        // Twice is as good as once.
        session::end(&db, listed[0], "again").await.unwrap();
        session::set_refresh(&db, listed[0], "lx1.sealed", at).await.unwrap();
        assert!(!session::is_fresh(&db, listed[0]).await.unwrap());
        assert!(session::find(&db, HERE, listed[0]).await.unwrap().is_none());
        db.close().await;
    }

    async fn of_many_who_come_first_one_is_let_in(url: &str) {
        let one = Db::connect(url, 8).await.unwrap();
        let two = Db::connect(url, 8).await.unwrap();
        let setup = link::for_setup(&one, HERE).await.unwrap();
        let arrivals = (0..50).map(|number| {
            let db = if number % 2 == 0 { one.clone() } else { two.clone() };
            let carried = with(&setup);
            // Half of them are one person who is impatient.
            let subject = if number % 4 < 2 { "ada".to_owned() } else { number.to_string() };
            tokio::spawn(async move {
                let identity = identity(&subject, "ada@example.com");
                (subject, come(&db, &identity, &carried, &by_invitation()).await)
            })
        });
        let arrivals: Vec<_> = arrivals.collect();
        let mut let_in = Vec::new();
        for arrival in arrivals {
            if let (subject, Arrived::SignedIn(account)) = arrival.await.unwrap() {
                let_in.push((subject, account));
            }
        }
        assert!(!let_in.is_empty());
        assert!(let_in.iter().all(|(subject, _)| *subject == let_in[0].0), "{let_in:?}");
        assert!(let_in.iter().all(|(_, account)| account.role == Role::Admin));
        assert_eq!(accounts(&one).await.len(), 1);
        assert_eq!(account::linked(&one, HERE, None).await.unwrap().len(), 1);
        one.close().await;
        two.close().await;
    }

    async fn two_administrators_cannot_put_each_other_out(url: &str) {
        let (db, admin) = set_up(url).await;
        let (_, link) = invitation::create(&db, HERE, "root", Role::Admin, None).await.unwrap();
        let other =
            let_in(&db, &identity("7", "ada@example.com"), &with(&link), &by_invitation()).await;
        let out = Change { role: None, status: Some(Status::Disabled), version: 1 };
        let (one, two) = tokio::join!(
            account::change(&db, HERE, "ada", admin.id, out),
            account::change(&db, HERE, "root", other.id, out),
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?}, {two:?}");
        db.close().await;
    }
}
