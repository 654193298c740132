//! A customer's and an administrator's day, one after the other on one server.

use serde_json::{Value, json};

use super::live;
use crate::{
    authority::person,
    support::{Database, Model, Reply, Server, Setup, on_both},
};

async fn newest_account(server: &Server) -> i64 {
    let sql = "select cast(max(id) as text) from account";
    server.database().column(&server.data(), sql).await[0].parse().unwrap()
}

on_both!(a_customers_and_an_administrators_day);
async fn a_customers_and_an_administrators_day(database: Database) {
    let model = Model::scripted().await;
    let server = Setup::new(&database).model(&model).start().await;
    let looks = if matches!(database, Database::Sqlite) { "yes" } else { "no" };
    let _other = person(&server, "customer").await;
    let other = newest_account(&server).await;
    let cookie = person(&server, "customer").await;
    let customer = newest_account(&server).await;
    // Somebody's error names them.
    let event = json!({ "error_type": "KeyError", "error_message": "'price'",
                        "user_id": customer.to_string() });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);

    let told =
        live(&server.base, server.folder(), &cookie, "customers_day", looks, async |ask, _| {
            match ask {
                "other" => return json!(other),
                "answer" => model.push(Reply::text(
                    json!({ "answer": "We open at nine.", "hand_over": false }).to_string(),
                )),
                "asked" => {
                    // Nothing of the system went to the model, and no tool.
                    let asked = model.asked();
                    let last = asked.last().unwrap().body.to_string();
                    assert!(!last.contains("\"tools\"") && !last.contains("KeyError"), "{last}");
                }
                other => panic!("{other}"),
            }
            Value::Null
        });
    told.await.unwrap_or_else(|failed| panic!("{}\n{failed}", server.log()));

    let admin = person(&server, "admin").await;
    let told = live(&server.base, server.folder(), &admin, "admins_day", looks, async |ask, _| {
        match ask {
            "customer" => return json!(customer),
            "call" => {
                let call = json!({
                    "started_at": lux::clock::now(), "duration_seconds": 61,
                    "from_number": "+442079460018", "transcript": "hello, who is there?",
                });
                assert_eq!(server.post("/api/call-logs", &call).await.status, 201);
            }
            other => panic!("{other}"),
        }
        Value::Null
    });
    told.await.unwrap_or_else(|failed| panic!("{}\n{failed}", server.log()));

    // They were an operator meanwhile; their session is a customer's again.
    let nothing = super::nothing;
    let told =
        live(&server.base, server.folder(), &cookie, "customers_evening", looks, nothing).await;
    told.unwrap_or_else(|failed| panic!("{}\n{failed}", server.log()));
    let told = live(&server.base, server.folder(), &admin, "forgetting", looks, async |_, _| {
        json!(customer)
    });
    told.await.unwrap_or_else(|failed| panic!("{}\n{failed}", server.log()));
}
