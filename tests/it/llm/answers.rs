//! What servers answer, and how they fail.

use lux::llm::{Finish, Message, Schema, Tool, Trouble};
use serde_json::{Value, json};

use super::{Rig, call, user};
use crate::{
    both::sqlite,
    support::{Asked, Reply, Script, until},
};

async fn rig() -> (Rig, impl Sized) {
    let empty = sqlite().await.unwrap();
    (Rig::new(&empty.url).await, empty)
}

#[tokio::test]
async fn an_answer_comes_whole_and_in_pieces() {
    let (rig, _database) = rig().await;
    rig.model.always(Reply::text("Grüße, es war nginx ‹x› [3]. 日本語 🦊"));
    let told = rig.ask("what is wrong?").await.unwrap();
    assert_eq!(told.text, "Grüße, es war nginx ‹x› [3]. 日本語 🦊");
    assert_eq!((told.tokens_in, told.tokens_out, told.estimated), (100, 20, false));
    assert_eq!((told.finish, told.model.as_str(), told.attempts), (Finish::Stop, "gpt-4o-mini", 1));
    // Each byte by itself: chunks end inside of characters, of JSON, of lines.
    for split in [1, 3, 7, 100_000] {
        rig.model.push(Reply::text("Grüße, es war nginx ‹x› [3]. 日本語 🦊").split(split));
        let (streamed, shown) = rig.stream("what is wrong?").await;
        let streamed = streamed.unwrap();
        assert_eq!(streamed.text, told.text);
        assert_eq!(shown, told.text);
        assert_eq!((streamed.tokens_in, streamed.tokens_out, streamed.estimated), (100, 20, false));
    }
    let asked = rig.model.asked();
    assert_eq!(asked.len(), 5);
    let first = &asked[0];
    assert_eq!(first.uri.path(), "/v1/chat/completions");
    assert_eq!(first.header("authorization"), Some("Bearer sk-scripted"));
    assert_eq!(first.body["max_tokens"], 2000);
    assert_eq!(first.last(), "what is wrong?");
    assert!(!first.streamed() && asked[1].streamed());
}

#[tokio::test]
async fn calls_of_tools_are_joined() {
    let (rig, _database) = rig().await;
    let arguments = json!({ "q": "grüße \"quoted\" \\ 🦊", "hours": 24 });
    rig.model.always(
        Reply::tools(&[("search_logs", arguments.clone()), ("health", json!({}))]).split(5),
    );
    let parameters = json!({ "type": "object", "properties": {} });
    let tool = Tool::new("search_logs", "Searches", &parameters);
    let messages = [user(&mut rig.llm.desk(), "look")];
    let tools = [tool];
    for streamed in [false, true] {
        let call = lux::llm::Call { tools: &tools, ..call(&messages) };
        let told = if streamed {
            rig.llm.stream(call, |_| panic!("a call is no text")).await.unwrap()
        } else {
            rig.llm.ask(call).await.unwrap()
        };
        assert_eq!(told.finish, Finish::Tools);
        let names: Vec<&str> = told.calls.iter().map(lux::llm::ToolCall::name).collect();
        assert_eq!(names, ["search_logs", "health"]);
        let sent: Value = serde_json::from_str(told.calls[0].arguments()).unwrap();
        assert_eq!(sent, arguments);
        // The next request carries them back, and the results.
        let mut desk = rig.llm.desk();
        let result = desk.data("search_logs", "1 line").unwrap();
        let id = told.calls[0].id().to_owned();
        let messages = [
            Message::Assistant { text: None, calls: told.calls },
            Message::Tool { call: id.clone(), result },
        ];
        rig.model.push(Reply::text("done"));
        rig.llm.ask(super::call(&messages)).await.unwrap();
        let asked = rig.model.asked().pop().unwrap();
        assert_eq!(asked.messages()[0]["tool_calls"][0]["id"], id);
        assert_eq!(asked.messages()[1]["tool_call_id"], id);
    }
    assert_eq!(rig.model.asked()[0].tools(), ["search_logs"]);
}

#[tokio::test]
async fn refusals_are_told_plainly_and_not_repeated() {
    let (rig, _database) = rig().await;
    let plain = |status, body: &str| Reply::status(status).body("text/plain", body);
    let cases = [
        (Reply::status(401), "key_refused", "check OPENAI_API_KEY"),
        (Reply::status(403).body("text/html", "<h1>no</h1>"), "key_refused", "(403)"),
        (plain(404, "404 page not found"), "no_such_route", "ends in /v1"),
        (
            Reply::status(404).body("application/json", r#"{"error":"model 'm' not found"}"#),
            "unknown_model",
            "OPENAI_MODEL",
        ),
        (
            Reply::status(429).body(
                "application/json",
                r#"{"error":{"code":"insufficient_quota","message":"exceeded"}}"#,
            ),
            "quota",
            "billing",
        ),
        (
            Reply::status(402).body("application/json", r#"{"error":{"code":402,"message":"x"}}"#),
            "quota",
            "billing",
        ),
        (
            Reply::status(422).body("application/json", r#"{"detail":[{"msg":"no such field"}]}"#),
            "rejected",
            "no such field",
        ),
        (Reply::refusal("I cannot help"), "refused", "I cannot help"),
        (Reply::text("x").finish("content_filter"), "refused", "declined"),
        (Reply::huge(10 << 20), "too_large", "max_answer_bytes"),
    ];
    for (reply, class, word) in cases {
        for streamed in [false, true] {
            let before = rig.model.asked().len();
            rig.model.push(reply.clone());
            let trouble = if streamed {
                rig.stream("x").await.0.unwrap_err()
            } else {
                rig.ask("x").await.unwrap_err()
            };
            assert_eq!(trouble.class(), class, "{trouble}");
            let line = trouble.to_string();
            assert!(line.contains(word) && !line.contains('\n'), "{line}");
            assert!(!line.contains("sk-scripted"), "{line}");
            assert_eq!(rig.model.asked().len(), before + 1, "{class} was tried again");
        }
    }
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let (rig, _database) = rig().await;
    for failing in [
        Reply::status(429).retry_after("0"),
        Reply::status(429).body("text/html", "<html>slow down</html>"),
        Reply::status(500),
        Reply::status(503).body("text/plain", "upstream"),
        Reply::raw("{\"choices\": [{\"mess"),
        Reply::raw("{}").body("text/html", "<html>a portal</html>"),
        Reply::hang(),
    ] {
        for streamed in [false, true] {
            let hangs = format!("{failing:?}").contains("Hang");
            if hangs && !streamed {
                continue;
            }
            rig.model.push(failing.clone());
            rig.model.push(Reply::text("here I am"));
            let told = if streamed { rig.stream("x").await.0 } else { rig.ask("x").await };
            let told = told.unwrap();
            assert_eq!((told.text.as_str(), told.attempts), ("here I am", 2), "{failing:?}");
        }
    }
    // Not for ever, and not longer than it may take.
    rig.model.always(Reply::status(500));
    let before = rig.model.asked().len();
    assert_eq!(rig.ask("x").await.unwrap_err().class(), "server_error");
    assert_eq!(rig.model.asked().len(), before + 3);
    rig.model.push(Reply::status(429).retry_after("3600"));
    let before = rig.model.asked().len();
    let trouble = rig.ask("x").await.unwrap_err();
    assert!(trouble.to_string().contains("3600 s"), "{trouble}");
    assert_eq!(rig.model.asked().len(), before + 1);
}

#[tokio::test]
async fn a_stream_that_breaks_is_tried_again_only_before_it_was_shown() {
    let (rig, _database) = rig().await;
    // The first event holds no text.
    rig.model.push(Reply::text("never seen").cut_after(1));
    rig.model.push(Reply::text("whole"));
    let (told, shown) = rig.stream("x").await;
    assert_eq!((told.unwrap().attempts, shown.as_str()), (2, "whole"));
    // A call of a tool is not handed over before it is whole.
    rig.model.push(Reply::tool("health", json!({ "a": 1 })).cut_after(3));
    rig.model.push(Reply::text("whole"));
    assert_eq!(rig.stream("x").await.0.unwrap().attempts, 2);

    for broken in [
        Reply::text("one two three four").cut_after(3),
        Reply::text("one two three four").without_finish(),
        Reply::text("one two three four").hang_after(3),
        Reply::raw("data: {\"choices\":[{\"delta\":{\"content\":\"one \"}}]}\n\ndata: {bro\n\n"),
        Reply::raw(
            "data: {\"choices\":[{\"delta\":{\"content\":\"one \"}}]}\n\n\
             data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n",
        ),
    ] {
        let before = rig.model.asked().len();
        rig.model.push(broken.clone());
        let (told, shown) = rig.stream("x").await;
        let trouble = told.unwrap_err();
        assert!(shown.starts_with("one "), "{shown}: {broken:?}");
        assert_eq!(rig.model.asked().len(), before + 1, "{trouble}: {broken:?}");
        if let Trouble::Cut { shown, .. } = trouble {
            assert!(shown);
            assert!(trouble.to_string().contains("incomplete"), "{trouble}");
        }
        // Or the server would be left alone for all these failures.
        rig.model.push(Reply::text("well"));
        rig.ask("x").await.unwrap();
    }
    // What has ended need not be waited for: neither the count nor the last line.
    rig.model.push(Reply::text("one").hang_after(3));
    let told = rig.stream("x").await.0.unwrap();
    assert_eq!((told.text.as_str(), told.estimated), ("one", true));
}

#[tokio::test]
async fn servers_differ() {
    let (rig, _database) = rig().await;
    for finish in ["eos", "STOP", "end_turn", "something_new"] {
        rig.model.push(Reply::text("fine").finish(finish));
        assert_eq!(rig.stream("x").await.0.unwrap().text, "fine");
    }
    rig.model.push(Reply::json(&json!({ "cause": "disk" })));
    assert_eq!(rig.ask("x").await.unwrap().json::<Value>().unwrap()["cause"], "disk");
    rig.model.push(Reply::text("fine").without_usage());
    let told = rig.stream("a question of some length").await.0.unwrap();
    assert!(told.estimated && told.tokens_in > 0 && told.tokens_out > 0, "{told:?}");
    // One that does not stream, and keep-alives before a first word.
    let whole =
        json!({ "choices": [{ "message": { "content": "whole" }, "finish_reason": "stop" }] });
    rig.model.push(Reply::raw(serde_json::to_string_pretty(&whole).unwrap()));
    let (told, shown) = rig.stream("x").await;
    assert_eq!((told.unwrap().text.as_str(), shown.as_str()), ("whole", "whole"));
    rig.model.push(Reply::raw(
        ": PROCESSING\n\n: PROCESSING\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
    ));
    assert_eq!(rig.stream("x").await.0.unwrap().text, "a");
}

#[tokio::test]
async fn what_a_server_does_not_take_is_left_out() {
    let (rig, _database) = rig().await;
    rig.model.by(|asked: &Asked| {
        let no = |words: &str| {
            let body = json!({ "error": { "message": words, "code": 400 } });
            Reply::status(400).body("application/json", body.to_string())
        };
        if asked.body.get("max_tokens").is_some() {
            no("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        } else if asked.body.get("stream_options").is_some() {
            no("unknown field stream_options")
        } else if asked.body.get("response_format").is_some() {
            no("this model supports no structured outputs")
        } else {
            Reply::text("```json\n{\"cause\": \"disk\"}\n```")
        }
    });
    let form = json!({ "type": "object", "properties": { "cause": { "type": "string" } } });
    let schema = Schema { name: "cause of it".into(), schema: form };
    let messages = [user(&mut rig.llm.desk(), "why?")];
    let asking = || lux::llm::Call { schema: Some(&schema), ..call(&messages) };
    let told = rig.llm.stream(asking(), |_| {}).await.unwrap();
    assert_eq!((told.attempts, told.json::<Value>()), (4, Ok(json!({ "cause": "disk" }))));
    let asked = rig.model.asked();
    assert_eq!(asked[0].body["response_format"]["json_schema"]["name"], "cause_of_it");
    assert_eq!(asked[0].body["response_format"]["json_schema"]["strict"], true);
    // Where it cannot be forced the form is said in words.
    assert!(asked[3].last().contains("\"cause\""), "{:?}", asked[3]);
    // It is remembered.
    assert_eq!(rig.llm.stream(asking(), |_| {}).await.unwrap().attempts, 1);
    // What nothing helps against is told.
    rig.model.push(Reply::status(400).body("application/json", r#"{"error":"bad request"}"#));
    assert_eq!(rig.ask("x").await.unwrap_err().class(), "rejected");
}

#[tokio::test]
async fn a_dead_server_is_left_alone_and_comes_back() {
    let (rig, _database) = rig().await;
    let settings = "retries = 0\ncircuit_pause = \"1s\"\n[model.chat]\nfirst_token = \"2s\"\n";
    let llm = rig.replica(settings).await;
    let mut desk = llm.desk();
    let messages = [user(&mut desk, "x")];
    rig.model.always(Reply::status(500));
    for _ in 0..5 {
        assert_eq!(llm.ask(call(&messages)).await.unwrap_err().class(), "server_error");
    }
    let before = rig.model.asked().len();
    let trouble = llm.ask(call(&messages)).await.unwrap_err();
    assert_eq!(trouble.class(), "circuit_open", "{trouble}");
    assert!(trouble.to_string().contains("(500)"), "{trouble}");
    assert_eq!(rig.model.asked().len(), before, "a dead model costs nothing");
    rig.model.always(Reply::text("back"));
    until("it is tried again", async || llm.ask(call(&messages)).await.ok()).await;
    assert!(llm.ask(call(&messages)).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let (rig, _database) = rig().await;
    rig.model.script(Some(Script::Hang));
    let settings = "retries = 0\n[model.chat]\nfirst_token = \"1s\"\ntimeout = \"2s\"\n";
    let llm = rig.replica(settings).await;
    let messages = [user(&mut llm.desk(), "x")];
    let whole = llm.ask(call(&messages)).await.unwrap_err();
    assert!(whole.to_string().contains("a whole answer within 2 s"), "{whole}");
    let first = llm.stream(call(&messages), |_| {}).await.unwrap_err();
    assert!(first.to_string().contains("a first word within 1 s"), "{first}");

    let folder = tempfile::tempdir().unwrap();
    let config = super::config(folder.path(), "http://127.0.0.1:1/v1", settings);
    let llm = super::make(&rig.db, &config);
    let trouble = llm.ask(call(&messages)).await.unwrap_err();
    assert_eq!(trouble.class(), "unreachable", "{trouble}");
    assert!(trouble.to_string().contains("127.0.0.1"), "{trouble}");
}

#[tokio::test]
async fn azure_and_keyless_servers() {
    let (rig, _database) = rig().await;
    rig.model.always(Reply::text("ok"));
    let llm = rig.replica("api_version = \"2024-10-21\"\nheaders = [\"X-Team: web\"]").await;
    let messages = [user(&mut llm.desk(), "x")];
    llm.ask(call(&messages)).await.unwrap();
    let asked = rig.model.asked().pop().unwrap();
    assert_eq!(asked.uri.query(), Some("api-version=2024-10-21"));
    assert_eq!(asked.header("api-key"), Some("sk-scripted"));
    assert_eq!((asked.header("authorization"), asked.header("x-team")), (None, Some("web")));

    // Without a key, a server that was named is asked; none that was not.
    let load = |environment: &[(&str, &str)]| {
        let environment =
            environment.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let overrides = lux::config::Overrides { environment, ..Default::default() };
        super::make(&rig.db, &lux::config::Config::load(overrides).unwrap())
    };
    let llm = load(&[("OPENAI_BASE_URL", &rig.model.url.replace("/v1", ""))]);
    llm.ask(call(&messages)).await.unwrap();
    let asked = rig.model.asked().pop().unwrap();
    assert_eq!((asked.uri.path(), asked.header("authorization")), ("/v1/chat/completions", None));
    let llm = load(&[]);
    assert!(!llm.is_on());
    assert_eq!(llm.ask(call(&messages)).await.unwrap_err(), Trouble::NoKey);
}
