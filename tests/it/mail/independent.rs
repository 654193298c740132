//! A mail server, and a reader of mail, that nobody here wrote: aiosmtpd, and Python's own.

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{make_contacts, posting_to, sql, until_status};
use crate::support::{Database, on_both, repository, skip, until, variable};

/// The server, its port, the folder it keeps mail in and its certificate.
struct Keeper {
    _process: Child,
    port: u16,
    folder: tempfile::TempDir,
    certificate: PathBuf,
}

impl Keeper {
    async fn start() -> Option<Self> {
        let python = variable("LUX_TEST_VENV").map(|venv| PathBuf::from(venv).join("bin/python"));
        let Some(python) = python else {
            skip("aiosmtpd (LUX_TEST_VENV)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut process = Command::new(python)
            .arg(repository("tests/mail/server.py"))
            .args([folder.path(), &certificate, &key])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = said.next_line().await.unwrap().expect("it says its port").parse().unwrap();
        Some(Self { _process: process, port, folder, certificate })
    }

    fn mails(&self) -> Vec<Value> {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|it| it.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
        files.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }
}

on_both!(another_server_takes_the_mail_and_another_reader_reads_it);
async fn another_server_takes_the_mail_and_another_reader_reads_it(database: Database) {
    let Some(keeper) = Keeper::start().await else { return };
    let url = format!("smtp://shop:secret@localhost:{}", keeper.port);
    let toml =
        format!("[mail]\nfrom_name = \"Shop\"\nca_file = \"{}\"\n", keeper.certificate.display());
    let server = posting_to(&database, &url).toml(&toml).start().await;
    make_contacts(&server, 20).await;
    sql(&server, "update contact set first_name = 'Zoë 👋', last_name = 'Ümläut' where id = 1")
        .await;
    let body = "Größe\n\n.\n\n..two dots\n\nFrom here\n\n[Look](https://shop.example/ö?a=1&b=2)";
    super::approve(&server, 1, body, "").await;
    until_status(&server, 1, "sent").await;
    let mails = until("all are kept", async || {
        let mails = keeper.mails();
        (mails.len() == 20).then_some(mails)
    })
    .await;
    let to = |mail: &Value| mail["recipients"][0].as_str().unwrap().to_owned();
    let mut all: Vec<String> = mails.iter().map(to).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 20);
    for mail in &mails {
        assert_eq!(mail["tls"], true);
        assert_eq!((&mail["sender"], &mail["defects"]), (&json!("shop@example.com"), &json!([])));
        assert_eq!(mail["headers"]["list-unsubscribe-post"], "List-Unsubscribe=One-Click");
        let text = mail["text"].as_str().unwrap();
        for line in ["Größe", ".", "..two dots", "From here"] {
            assert!(text.lines().any(|it| it == line), "{line}: {text:?}");
        }
        assert!(mail["html"].as_str().unwrap().contains("Größe"), "{mail}");
    }
    let zoe = mails.iter().find(|mail| to(mail) == "u1@example.org").unwrap();
    assert_eq!(zoe["headers"]["to"], "Zoë 👋 Ümläut <u1@example.org>");
    assert_eq!(zoe["headers"]["from"], "Shop <shop@example.com>");
}
