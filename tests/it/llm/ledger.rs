//! The ledger and the budget, on both databases.

use std::sync::Arc;

use lux::{
    auth::OrganizationId,
    llm::{
        Purpose,
        ledger::{self, Filter},
    },
};
use serde_json::Value;

use super::{Rig, call, user};
use crate::{
    both::on_both,
    support::{Reply, until},
};

const HERE: OrganizationId = OrganizationId::FIRST;

async fn newest(rig: &Rig) -> ledger::Whole {
    let (lines, _) = ledger::list(&rig.db, HERE, &Filter::default(), 1, None).await.unwrap();
    rig.llm.find(HERE, lines[0].id).await.unwrap().unwrap()
}

/// Small reservations: some 5 tokens in, 20 out.
const SMALL: &str = "[model.chat]\nmax_output_tokens = 20\n";

on_both! {
    async fn each_request_is_in_the_ledger(url: &str) {
        let rig = Rig::with(url, "input_price = 2.0\noutput_price = 10.0\nretries = 1\n").await;
        rig.model.push(Reply::status(500));
        rig.model.push(Reply::text("ask anna@example.com\0, password=hunter22value"));
        let told = rig.ask("mail of anna@example.com, password=hunter22value").await.unwrap();
        let whole = rig.llm.find(HERE, told.ledger).await.unwrap().unwrap();
        let line = &whole.line;
        assert_eq!((line.purpose.as_str(), line.why.as_str(), line.made_for.as_str()), ("chat", "message 12", "anna"));
        assert_eq!((line.model.as_str(), line.host.as_str(), line.result.as_str()), ("gpt-4o-mini", "127.0.0.1", "told"));
        assert_eq!((line.attempts, line.tokens_in, line.tokens_out, line.estimated), (2, 100, 20, false));
        assert_eq!((line.cost_micros, told.cost_micros), (Some(400), Some(400)));
        assert!(line.latency_ms.is_some() && line.bytes_in > 0);
        assert_eq!(line.redacted.0, serde_json::json!({ "email": 1, "secret": 1 }));
        // The text is the one that left, byte for byte.
        let sent = whole.sent.unwrap();
        assert_eq!(line.bytes_out, i64::try_from(sent.len()).unwrap());
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent, rig.model.asked()[1].body);
        assert!(!sent.to_string().contains("hunter22") && !sent.to_string().contains("anna@"), "{sent}");
        let answer = whole.answer.unwrap();
        assert!(answer.starts_with("ask ") && !answer.contains("hunter22"), "{answer}");

        rig.model.push(Reply::status(401));
        rig.ask("again").await.unwrap_err();
        let failed = newest(&rig).await;
        assert_eq!((failed.line.result.as_str(), failed.line.tokens_in), ("key_refused", 0));
        assert!(failed.line.detail.unwrap().contains("OPENAI_API_KEY") && failed.answer.is_none());

        // Filters, pages, and nobody else's.
        let count = async |filter: Filter| {
            ledger::list(&rig.db, HERE, &filter, 50, None).await.unwrap().0.len()
        };
        assert_eq!(count(Filter::default()).await, 2);
        assert_eq!(count(Filter { result: Some("told".to_owned()), ..Filter::default() }).await, 1);
        assert_eq!(count(Filter { purpose: Some(Purpose::Plan), ..Filter::default() }).await, 0);
        assert_eq!(count(Filter { made_for: Some("anna".to_owned()), ..Filter::default() }).await, 2);
        assert_eq!(count(Filter { since: Some(lux::clock::now()), ..Filter::default() }).await, 0);
        let (page, next) = ledger::list(&rig.db, HERE, &Filter::default(), 1, None).await.unwrap();
        assert_eq!(page[0].id, failed.line.id);
        let (page, next) = ledger::list(&rig.db, HERE, &Filter::default(), 1, next).await.unwrap();
        assert_eq!((page[0].id, next.is_none()), (told.ledger, true));
        let elsewhere = OrganizationId(77);
        assert!(rig.llm.find(elsewhere, told.ledger).await.unwrap().is_none());
    }

    async fn the_budget_holds_across_replicas_and_restarts(url: &str) {
        let settings = format!("daily_tokens = 500\n{SMALL}");
        let rig = Rig::with(url, &settings).await;
        rig.model.always(Reply::text("yes").without_usage());
        let replicas = [Arc::new(rig.replica(&settings).await), Arc::new(rig.replica(&settings).await)];
        let mut calls = tokio::task::JoinSet::new();
        for at in 0..60 {
            let llm = Arc::clone(&replicas[at % 2]);
            calls.spawn(async move {
                // Ten tokens of words, so that the day is over before the calls are.
                let messages = [user(&mut llm.desk(), "what is wrong with my shop?")];
                llm.ask(call(&messages)).await
            });
        }
        let results = calls.join_all().await;
        let told = results.iter().filter(|it| it.is_ok()).count();
        let refused: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert!(told > 0 && !refused.is_empty(), "{told} of 60");
        assert!(refused.iter().all(|it| it.class() == "budget_spent"), "{refused:?}");
        assert!(refused[0].to_string().contains("500 tokens"), "{}", refused[0]);
        let spent = rig.llm.spent_today(HERE).await.unwrap();
        assert!(spent.tokens <= 500, "{spent:?}");
        // What is counted is what the ledger says.
        let sum: i64 = rig.db.query("select cast(sum(tokens_in + tokens_out) as bigint) from model_call").scalar().await.unwrap();
        assert_eq!(sum, spent.tokens);
        assert_eq!(rig.model.asked().len(), told, "one that was refused left");
        // One that comes later asks the same database.
        rig.model.always(Reply::text("yes"));
        let late = rig.replica(&settings).await;
        let messages = [user(&mut late.desk(), &"words ".repeat(900))];
        let trouble = late.ask(call(&messages)).await.unwrap_err();
        assert_eq!(trouble.class(), "budget_spent", "{trouble}");
    }

    async fn a_budget_of_money_holds_too(url: &str) {
        let settings = format!("input_price = 100.0\noutput_price = 100.0\ndaily_cost = 0.013\n{SMALL}");
        let rig = Rig::with(url, &settings).await;
        rig.model.always(Reply::text("yes"));
        // 120 tokens at a ten-thousandth each.
        assert_eq!(rig.ask("x").await.unwrap().cost_micros, Some(12_000));
        let trouble = rig.ask("x").await.unwrap_err();
        assert!(trouble.to_string().contains("0.013 cost") && trouble.to_string().contains("daily_cost"), "{trouble}");
        assert_eq!(rig.llm.spent_today(HERE).await.unwrap().cost_micros, 12_000);
    }

    async fn a_call_that_is_dropped_is_closed(url: &str) {
        let rig = Rig::new(url).await;
        rig.model.push(Reply::text("one two three").hang_after(3));
        let messages = [user(&mut rig.llm.desk(), "x")];
        let (seen, mut first) = tokio::sync::mpsc::unbounded_channel();
        {
            let asking = rig.llm.stream(call(&messages), move |piece| seen.send(piece.to_owned()).unwrap());
            tokio::select! {
                told = asking => panic!("{told:?}"),
                piece = first.recv() => assert_eq!(piece.as_deref(), Some("one ")),
            }
        }
        let line = until("it is closed", async || {
            Some(newest(&rig).await.line).filter(|line| line.result != "under_way")
        }).await;
        assert_eq!(line.result, "stopped");
        assert!(line.tokens_out > 0 && line.tokens_in > 0 && line.attempts == 1, "{line:?}");
        // Of what was reserved only what was used is left.
        assert_eq!(rig.llm.spent_today(HERE).await.unwrap().tokens, line.tokens_in + line.tokens_out);
    }

    async fn texts_are_kept_as_long_as_is_set(url: &str) {
        let rig = Rig::with(url, "keep_texts = \"0s\"\n").await;
        rig.model.always(Reply::text("yes"));
        rig.ask("x").await.unwrap();
        let whole = newest(&rig).await;
        assert_eq!((whole.sent, whole.answer), (None, None));

        let llm = rig.replica("keep_texts = \"1h\"\nkeep_ledger = \"3h\"\n").await;
        let messages = [user(&mut llm.desk(), "x")];
        let mut ids = Vec::new();
        for hours in [0, 2, 4] {
            let told = llm.ask(call(&messages)).await.unwrap();
            rig.db.query("update model_call set at = $2 where id = $1")
                .bind(told.ledger)
                .bind(lux::clock::now() - chrono::TimeDelta::hours(hours))
                .run().await.unwrap();
            ids.push(told.ledger);
        }
        rig.db.query("update model_call set result = 'under_way' where id = $1").bind(ids[1]).run().await.unwrap();
        assert_eq!(llm.clear_ledger().await.unwrap(), 1);
        let mut found = Vec::new();
        for id in ids {
            found.push(rig.llm.find(HERE, id).await.unwrap());
        }
        let [Some(young), Some(old), None] = &found[..] else { panic!("{found:?}") };
        assert!(young.sent.is_some() && young.answer.is_some());
        assert_eq!((&old.sent, &old.answer, old.line.result.as_str()), (&None, &None, "lost"));
    }

    async fn what_cannot_be_noted_is_not_sent(url: &str) {
        let rig = Rig::new(url).await;
        rig.model.always(Reply::text("yes"));
        rig.db.query("alter table model_call rename to model_call_away").run().await.unwrap();
        let trouble = rig.ask("x").await.unwrap_err();
        assert_eq!(trouble.class(), "no_ledger", "{trouble}");
        assert!(rig.model.asked().is_empty(), "it was sent");
        assert_eq!(rig.llm.spent_today(HERE).await.unwrap().tokens, 0, "it was counted");
        rig.db.query("alter table model_call_away rename to model_call").run().await.unwrap();
        rig.ask("x").await.unwrap();
    }
}
