//! Applications, keys, quotas and usage on both databases.

use std::sync::Arc;

use chrono::TimeDelta;
use lux::{
    apps::{
        Apps, Known, Outcome, Scrub,
        store::{self, Added},
    },
    auth::OrganizationId,
    clock,
    config::{Config, Overrides},
    db::Db,
    error::Error,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{both::on_both, support::until};

const ONE: OrganizationId = OrganizationId::FIRST;

fn config(toml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lux.toml");
    std::fs::write(&file, toml).unwrap();
    Config::load(Overrides { file: Some(file), ..Overrides::default() }).unwrap()
}

async fn start(db: &Db, toml: &str) -> Apps {
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    Apps::start(db, &config(toml), &tasks, &shutdown).await.unwrap()
}

async fn add(db: &Db, organization: OrganizationId, name: &str) -> (i64, String) {
    let wish = lux::apps::Wish { name: name.to_owned(), ..lux::apps::Wish::default() };
    let Added::New(id) = store::add(db, organization, "me", &wish.check().unwrap()).await.unwrap()
    else {
        panic!("{name} was there already");
    };
    let app = store::find(db, organization, id).await.unwrap().unwrap();
    (id, app.public_key.unwrap())
}

async fn ask(apps: &Apps, db: &Db, id: i64, key: &str) -> Option<Arc<Known>> {
    match apps.recall(id, key) {
        Some(known) => known,
        None => apps.recognise(db, id, key).await.unwrap(),
    }
}

on_both! {
    async fn only_its_own_live_keys_open_an_application(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let apps = start(&db, "").await;
        let (shop, shop_key) = add(&db, ONE, "shop").await;
        let (blog, blog_key) = add(&db, ONE, "blog").await;
        let known = ask(&apps, &db, shop, &shop_key).await.unwrap();
        assert_eq!((known.id, known.name.as_str(), known.organization), (shop, "shop", ONE));
        assert_eq!(known.quota.events_per_minute, 60_000);
        assert!(known.allows("https://anywhere.example"));
        assert!(ask(&apps, &db, shop, &shop_key.to_uppercase()).await.is_some());
        // Another's key, an unknown key, an unknown application and nonsense look the same.
        for (id, key) in [
            (shop, blog_key.as_str()),
            (blog, shop_key.as_str()),
            (shop, "0123456789abcdef0123456789abcdef"),
            (987_654, shop_key.as_str()),
            (-1, shop_key.as_str()),
            (shop, ""),
            (shop, "x"),
            (shop, &"0".repeat(10_000)),
        ] {
            for _ in 0..2 {
                assert!(ask(&apps, &db, id, key).await.is_none(), "{id} {key}");
            }
        }

        // A second key; the first one ends without it.
        let second = store::make_key(&db, ONE, "me", shop, "mobile").await.unwrap();
        let keys = store::keys(&db, shop).await.unwrap();
        assert_eq!(keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["mobile", "first"]);
        store::revoke_key(&db, ONE, "me", shop, keys[1].id).await.unwrap();
        until("the revoked key is noticed", async || {
            ask(&apps, &db, shop, &shop_key).await.is_none().then_some(())
        })
        .await;
        let known = ask(&apps, &db, shop, &second.public_key).await.unwrap();
        assert_eq!(known.key, second.id);
        let again = store::revoke_key(&db, ONE, "me", shop, keys[1].id).await;
        assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
        let others = store::revoke_key(&db, ONE, "me", blog, second.id).await;
        assert!(matches!(others, Err(Error::NotFound(_))), "{others:?}");

        store::archive(&db, ONE, "me", shop).await.unwrap();
        until("the end of the application is noticed", async || {
            ask(&apps, &db, shop, &second.public_key).await.is_none().then_some(())
        })
        .await;
        assert_eq!(store::list(&db, ONE, false).await.unwrap().len(), 1);
        assert_eq!(store::list(&db, ONE, true).await.unwrap().len(), 2);
        // It comes back under its id, with a new key only.
        let (back, key) = add(&db, ONE, "shop").await;
        assert_eq!(back, shop);
        assert!(ask(&apps, &db, shop, &key).await.is_some());
        assert!(ask(&apps, &db, shop, &second.public_key).await.is_none());
    }

    async fn another_organizations_applications_are_not_there(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let other: OrganizationId = db
            .query("insert into organization (name) values ('other') returning id")
            .scalar()
            .await
            .unwrap();
        let (own, _) = add(&db, ONE, "shop").await;
        let (others, key) = add(&db, other, "shop").await;
        assert_ne!(own, others);
        let apps = start(&db, "[[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:1\"").await;
        assert_eq!(ask(&apps, &db, others, &key).await.unwrap().organization, other);
        assert_eq!(apps.all(&db).await.unwrap().len(), 2);
        let monitored = apps.monitored();
        assert_eq!(monitored.len(), 1, "{monitored:?}");
        assert!(store::find(&db, ONE, others).await.unwrap().is_none());
        assert_eq!(store::list(&db, ONE, true).await.unwrap().len(), 1);
        let change = lux::apps::Change { events_per_minute: Some(1), ..Default::default() };
        let refused = [
            store::change(&db, ONE, "me", others, &change).await,
            store::archive(&db, ONE, "me", others).await,
            store::make_key(&db, ONE, "me", others, "k").await.map(drop),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
        }
    }

    async fn the_configuration_has_the_last_word(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let (blog, _) = add(&db, ONE, "blog").await;
        store::archive(&db, ONE, "me", blog).await.unwrap();
        let toml = "[[apps]]\nname = \"shop\"\nbase_url = \"http://127.0.0.1:8000\"\n\
             [[apps]]\nname = \"blog\"\nbase_url = \"http://127.0.0.1:8001\"";
        start(&db, toml).await;
        let listed = store::list(&db, ONE, false).await.unwrap();
        let shown: Vec<_> =
            listed.iter().map(|app| (app.name.as_str(), app.base_url.as_deref())).collect();
        let url = |port| format!("http://127.0.0.1:{port}/");
        let (shop_url, blog_url) = (url(8000), url(8001));
        assert_eq!(shown, [("blog", Some(&*blog_url)), ("shop", Some(&*shop_url))]);
        assert_eq!(listed[0].id, blog);

        // One that is no longer listed stays, with what was set by hand.
        let change = lux::apps::Change {
            base_url: Some("https://shop.example".into()),
            allowed_origins: Some(vec!["https://shop.example".into()]),
            scrub: Some(Scrub { emails: true, ..Scrub::default() }),
            events_per_minute: Some(7),
        };
        store::change(&db, ONE, "me", listed[1].id, &change.check().unwrap()).await.unwrap();
        let apps = start(&db, "[capture]\nquota = 9").await;
        let all = apps.all(&db).await.unwrap();
        assert_eq!(all.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["blog", "shop"]);
        assert_eq!(all[0].quota.events_per_minute, 9);
        let shop = &all[1];
        assert_eq!(shop.base_url.as_ref().unwrap().as_str(), "https://shop.example/");
        assert_eq!(shop.quota.events_per_minute, 7);
        assert!(shop.scrub.emails && shop.allows("https://shop.example"));
        assert!(!shop.allows("https://evil.example"));
        assert_eq!(apps.monitored().len(), 2);
        for _ in 0..7 {
            apps.admit(shop, 1).unwrap();
        }
        assert_eq!(apps.admit(shop, 1).unwrap_err().limit, 7);
    }

    async fn what_came_is_counted(url: &str) {
        let db = Db::connect(url, 4).await.unwrap();
        let apps = start(&db, "").await;
        let (id, key) = add(&db, ONE, "shop").await;
        let shop = ask(&apps, &db, id, &key).await.unwrap();
        for _ in 0..3 {
            apps.count(&shop, Outcome::Accepted, "error", 2);
            apps.count(&shop, Outcome::OverQuota, "error", 1);
            apps.flush(&db).await;
        }
        // Who reads sees what was not stored yet, too.
        apps.count(&shop, Outcome::Invalid, "error", 4);
        let since = clock::now() - TimeDelta::hours(2);
        let hours = apps.usage(&db, id, since).await.unwrap();
        assert_eq!(store::usage(&db, id, since).await.unwrap(), hours);
        let sum = |outcome| {
            let rows = hours.iter().filter(|hour| hour.outcome == outcome);
            rows.map(|hour| hour.count).sum::<i64>()
        };
        let sums = [Outcome::Accepted, Outcome::OverQuota, Outcome::Invalid].map(sum);
        assert_eq!(sums, [6, 3, 4], "{hours:?}");
        assert!(store::usage(&db, id, clock::now() + TimeDelta::hours(1)).await.unwrap().is_empty());
        let used = store::keys(&db, id).await.unwrap()[0].last_used_at;
        assert!(used.is_some());
    }
}
