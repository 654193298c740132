//! Hostile text in everything that Lux reads, and a model that obeys all of it: nothing
//! may happen, no secret may leave, and nothing that is shown may load or lead anywhere.
//! The figures are printed.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Database, Model, Reply, Role, Server, Setup, groups, on_both, repository, say, until,
};

/// Strings that are put before the model at once.
const AT_ONCE: usize = 16;

/// Whether somebody came to the address that the hostile strings name.
struct Canary {
    address: String,
    visits: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Canary {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let visits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&visits);
        let task = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, visits, task }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn corpus(canary: &str) -> Vec<String> {
    let text = fs::read_to_string(repository("tests/injection/corpus.jsonl")).unwrap();
    let strings = text.lines().map(|line| serde_json::from_str::<String>(line).unwrap());
    strings.map(|text| text.replace("{CANARY}", canary)).collect()
}

/// Random text over an alphabet: a test needs secrets that nobody has.
fn random(alphabet: &str, length: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut out = String::new();
    while out.len() < length {
        for byte in uuid::Uuid::new_v4().into_bytes() {
            out.push(alphabet[usize::from(byte) % alphabet.len()]);
        }
    }
    out.truncate(length);
    out
}

/// Lines with secrets: `{a24}` stands for letters and digits, `{h40}` for hex, `{d10}` for
/// digits, `{u16}` for capitals and digits. What is filled in must not leave.
fn secrets() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(repository("tests/injection/secrets.txt")).unwrap();
    let form = regex::Regex::new(r"\{([ahdu])(\d+)\}").unwrap();
    let fill = |line: &str| {
        let mut secrets = Vec::new();
        let line = form.replace_all(line, |found: &regex::Captures<'_>| {
            let alphabet = match &found[1] {
                "h" => "0123456789abcdef",
                "d" => "123456789",
                "u" => "ABCDEFGHJKLMNPQRSTUVWXYZ234567",
                _ => "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789",
            };
            secrets.push(random(alphabet, found[2].parse().unwrap()));
            secrets.last().unwrap().clone()
        });
        (line.into_owned(), secrets)
    };
    text.lines().filter(|line| !line.is_empty()).map(fill).collect()
}

/// Does everything it is told, and more: calls whatever changes something, then repeats
/// all it has seen, with an image, a link and the line that asks for a repair.
fn obedient(model: &Model, canary: &str) -> Arc<Mutex<Vec<String>>> {
    let complaints: Arc<Mutex<Vec<String>>> = Arc::default();
    let (told, canary) = (Arc::clone(&complaints), canary.to_owned());
    model.by(move |asked| {
        let mut seen = String::new();
        for message in asked.messages() {
            let text = message["content"].as_str().unwrap_or_default();
            if message["role"] != "system" {
                told.lock().unwrap().extend(broken_blocks(text));
                seen.push_str(text);
            }
        }
        let turns = asked.messages().iter().filter(|message| message["role"] == "tool").count();
        if turns == 0 {
            return Reply::tools(&[
                ("search_logs", json!({ "limit": 50 })),
                ("list_errors", json!({ "limit": 50 })),
                ("start_repair", json!({})),
                ("start_repair", json!({ "group_ids": [1] })),
                ("propose_action", json!({ "action": "mend", "group_id": 1 })),
                ("run_probe", json!({ "name": "charge-card" })),
                ("run_shell", json!({ "command": format!("curl http://{canary}/") })),
                ("http_get", json!({ "url": format!("http://{canary}/") })),
            ]);
        }
        let tail: String =
            seen.chars().rev().take(20_000).collect::<Vec<_>>().into_iter().rev().collect();
        Reply::text(format!(
            "{tail}\n\n![x](http://{canary}/p.png?d=1) <img src=http://{canary}/q.png> \
             [docs](http://{canary}/)\n\nACTION: REPAIR_ERRORS"
        ))
    });
    complaints
}

/// A block of data ends where its own boundary says, once; nothing in it can be taken for
/// the marker or the frame of a conversation.
fn broken_blocks(text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for (at, _) in text.match_indices("<data-") {
        let boundary = text[at + 6..].split(' ').next().unwrap();
        let (open, close) = (format!("<data-{boundary}"), format!("</data-{boundary}>"));
        if text.matches(&open).count() != 1 || text.matches(&close).count() != 1 {
            broken.push(format!("a block that is not closed once: {text:.300}"));
        }
    }
    for frame in ["ACTION: REPAIR", "<|im_start|>", "[INST]", "\u{202e}", "\u{200b}", "\u{1b}["] {
        if text.contains(frame) {
            broken.push(format!("{frame:?} arrives as it was: {text:.300}"));
        }
    }
    broken
}

/// Attributes and tags by which a page loads or leads somewhere.
fn loads(html: &str) -> Vec<&'static str> {
    let lower = html.to_lowercase();
    let tags = [
        "<img", "<a", "<script", "<iframe", "<link", "<style", "<svg", "<object", "<form",
        "<input", "<video", "<base", "<meta", "<details",
    ];
    let opened = tags.into_iter().filter(|tag| {
        lower.match_indices(tag).any(|(at, _)| {
            !lower[at + tag.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
        })
    });
    // An attribute can only stand in a tag, and the allowed ones have none.
    let attributes = lower
        .split('<')
        .skip(1)
        .filter_map(|tag| tag.split_once('>'))
        .any(|(tag, _)| tag.contains('='));
    opened.chain(attributes.then_some("an attribute")).collect()
}

async fn log(server: &Server, name: &str, lines: &[String]) {
    use std::io::Write;
    let mut file =
        fs::OpenOptions::new().create(true).append(true).open(server.folder().join(name)).unwrap();
    let last = format!("batch {} ends", uuid::Uuid::new_v4().simple());
    let text = format!("{}\n{last}\n", lines.join("\n"));
    file.write_all(text.as_bytes()).unwrap();
    until("the log is read", async || {
        let path = format!("/api/diagnostics/logs?q={}", last.replace(' ', "%20"));
        let found = server.get(&path).await;
        (!found["records"].as_array()?.is_empty()).then_some(())
    })
    .await;
}

async fn ask(server: &Server, message: &str) -> Value {
    let answer = server.post("/chatbot/send", &json!({ "message": message })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

on_both!(nobody_but_the_operator_is_obeyed);
async fn nobody_but_the_operator_is_obeyed(database: Database) {
    let (model, canary) = (Model::scripted().await, Canary::start().await);
    // Lux may ask the application for a page that fails.
    let shop = Canary::start().await;
    let complaints = obedient(&model, &canary.address);
    let setup = Setup::new(&database).model(&model);
    let folder = setup.folder().display().to_string();
    // Everything that could have an effect is there, and allowed.
    let toml = format!(
        "[model]\ndaily_tokens = 1_000_000_000\n[model.chat]\nmax_input_tokens = 100000\n\
         [repair]\nactions = true\n\
         [[apps]]\nname = 'shop'\nbase_url = 'http://{address}'\n\
         [[sources]]\nname = 'app'\npath = '{folder}/app.log'\n\
         [[sources]]\nname = 'access'\nkind = 'nginx-access'\npath = '{folder}/access.log'\n\
         [[actions]]\nname = 'mend'\nargv = ['/usr/bin/touch', '{folder}/touched']\n\
         policy = 'auto'\nfixes = ['code_bug_key_error']\n\
         [[probes]]\nname = 'charge-card'\napp = 'shop'\nkind = 'http'\nmethod = 'POST'\n\
         path = '/charge'\nexpect = {{ status = 200 }}\n",
        address = shop.address,
    );
    let server = setup.toml(&toml).start().await;
    let corpus = corpus(&canary.address);
    assert!(corpus.len() >= 150, "{} hostile strings", corpus.len());
    let (mut answers, mut loading) = (0, Vec::new());
    for batch in corpus.chunks(AT_ONCE) {
        let lines: Vec<String> = batch.iter().map(|text| text.replace('\n', "\\n")).collect();
        log(&server, "app.log", &lines).await;
        let access: Vec<String> = lines
            .iter()
            .map(|text| {
                let path: String = text.chars().filter(|c| !c.is_control() && *c != ' ').collect();
                format!(
                    "203.0.113.9 - - [21/Nov/2026:10:00:00 +0000] \"GET /{} HTTP/1.1\" 200 12 \"-\" \"{}\"",
                    path.replace('"', "%22"),
                    text.replace('"', "\\x22")
                )
            })
            .collect();
        log(&server, "access.log", &access).await;
        let events: Vec<Value> = batch
            .iter()
            .map(|text| {
                json!({ "error_type": "KeyError", "error_message": text, "endpoint": "/basket",
                        "method": "GET", "app": "shop", "user_id": text.chars().take(100).collect::<String>(),
                        "error_stack": format!(
                            "Traceback (most recent call last):\n  File \"/srv/shop/b.py\", line 7, \
                             in price\n    {text}\nKeyError: {text}\n") })
            })
            .collect();
        let stored = server.post("/api/errors", &events).await;
        assert_eq!(stored.status, 201, "{stored:?}");
        for question in ["Tell me about the newest lines", "what is wrong?"] {
            let reply = ask(&server, question).await;
            assert_eq!(reply["engine"], "model", "{}", reply["notice"]);
            assert_eq!(reply["auto_repair_triggered"], false);
            assert_eq!(reply["repair_results"], Value::Null);
            loading.extend(loads(reply["html"].as_str().unwrap()));
            answers += 1;
        }
    }
    let complaints = complaints.lock().unwrap().clone();
    let runs = server.get("/api/auto-repair/runs").await["runs"].as_array().unwrap().len();
    let actions = server.get("/api/auto-repair/actions").await["actions"].as_array().unwrap().len();
    let request = server.request_as(Role::Admin, Method::GET, "/api/audit");
    let audit = Answer::of(request).await.json();
    let touched = server.folder().join("touched").exists();
    let decided =
        groups(&server, "").await.iter().filter(|group| group["status"] != "unresolved").count();
    let charged = server.get("/api/probes/charge-card/results").await;
    let visits = canary.visits.load(Ordering::SeqCst);
    let charged = charged["results"].as_array().map_or(0, Vec::len);
    say(&format!(
        "{} hostile strings in log lines, requests, user agents and errors, {answers} answers of a \
         model that obeys: {runs} runs, {actions} actions, {charged} probes, {decided} errors \
         decided, {visits} visits to their address, {} blocks broken, {} external loads",
        corpus.len(),
        complaints.len(),
        loading.len()
    ));
    assert_eq!(complaints, [""; 0]);
    assert_eq!(loading, [""; 0]);
    assert_eq!((runs, actions, charged, decided, visits), (0, 0, 0, 0, 0), "{audit:#}");
    assert!(!touched, "{audit:#}");
}

on_both!(no_secret_leaves);
async fn no_secret_leaves(database: Database) {
    let (model, canary) = (Model::scripted().await, Canary::start().await);
    let _complaints = obedient(&model, &canary.address);
    let setup = Setup::new(&database).model(&model);
    let folder = setup.folder().display().to_string();
    let toml = format!(
        "[model.chat]\nmax_input_tokens = 100000\n[[sources]]\nname = 'app'\npath = '{folder}/app.log'\n"
    );
    let server = setup.toml(&toml).start().await;
    let secrets = secrets();
    assert!(secrets.len() >= 100, "{} forms", secrets.len());
    for batch in secrets.chunks(AT_ONCE) {
        let lines: Vec<String> = batch.iter().map(|(line, _)| format!("ERROR {line}")).collect();
        log(&server, "app.log", &lines).await;
        let events: Vec<Value> = batch
            .iter()
            .map(|(line, _)| json!({ "error_type": "ValueError", "error_message": line, "app": "shop" }))
            .collect();
        assert_eq!(server.post("/api/errors", &events).await.status, 201);
        for question in ["Tell me about the newest lines", "what is wrong?"] {
            ask(&server, question).await;
        }
    }
    let asked: Vec<String> = model.asked().iter().map(|asked| asked.body.to_string()).collect();
    let ledger = server.request_as(Role::Admin, Method::GET, "/api/model/ledger?limit=200");
    let ledger = Answer::of(ledger).await.text;
    // Each with what it stood in.
    let found = |secret: &String| {
        let body = asked.iter().chain([&ledger]).find(|body| body.contains(secret))?;
        let at = body.find(secret)?;
        let (from, to) = (body.floor_char_boundary(at.saturating_sub(80)), at + secret.len());
        Some(body[from..to].to_owned())
    };
    let left: Vec<String> =
        secrets.iter().flat_map(|(_, secrets)| secrets).filter_map(found).collect();
    let seen = asked.iter().filter(|body| body.contains("‹secret-")).count();
    say(&format!(
        "{} forms of secrets in log lines and errors, {} requests to the model: {} left",
        secrets.len(),
        asked.len(),
        left.len()
    ));
    assert!(seen > 0, "the lines arrived, without their secrets");
    assert_eq!(left, [""; 0]);
}
