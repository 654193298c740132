//! The `sentry` crate.

use std::{sync::Arc, time::Duration};

use sentry::{Client, ClientOptions, Hub, Scope, protocol::User};

use super::{Shop, check_told, only_group};
use crate::support::{Database, on_both};

/// Fails as programs do.
fn price(item: &str) -> u32 {
    let prices = std::collections::HashMap::from([("apple", 3)]);
    *prices.get(item).expect("every item has a price")
}

/// Runs in a thread of its own, which ends by its panic.
fn sell(client: &Arc<Client>) {
    let hub = Arc::new(Hub::new(Some(Arc::clone(client)), Arc::new(Scope::default())));
    let selling = std::thread::spawn(move || {
        Hub::run(hub, || {
            sentry::configure_scope(|scope| {
                scope.set_tag("shelf", "7");
                scope.set_user(Some(User { id: Some("u-42".into()), ..User::default() }));
            });
            sentry::add_breadcrumb(sentry::Breadcrumb {
                category: Some("cart".into()),
                message: Some("put a plum into the cart".into()),
                ..sentry::Breadcrumb::default()
            });
            price("pear")
        })
    });
    assert!(selling.join().is_err());
}

on_both!(a_panic);
async fn a_panic(database: Database) {
    let shop = Shop::new(&database).await;
    let mut options = ClientOptions::default();
    options.dsn = Some(shop.dsn.parse().unwrap());
    options.release = Some("shop@1.2.3".into());
    options.environment = Some("staging".into());
    let client = Arc::new(Client::from(sentry::apply_defaults(options)));
    sell(&client);
    sell(&client);
    // What a program does before it ends.
    let closing = Arc::clone(&client);
    let sent = tokio::task::spawn_blocking(move || closing.close(Some(Duration::from_secs(20))));
    assert!(sent.await.unwrap());
    let whole = shop.whole(&shop.awaited(2).await[0]).await;
    check_told(&whole);
    let event = &whole["error"];
    assert_eq!(
        (&event["type"], &event["message"]),
        (&"panic".into(), &"every item has a price".into())
    );
    let frames = whole["detail"]["exceptions"][0]["frames"].as_array().unwrap();
    let price = frames.iter().find(|frame| {
        frame["function"].as_str().is_some_and(|function| function.ends_with("::price"))
    });
    let price = price.unwrap_or_else(|| panic!("{whole:#}"));
    assert!(price["filename"].as_str().unwrap().ends_with("rust.rs"), "{price:#}");
    assert_eq!(only_group(&shop).await["count"], 2);
}
